"""``stapes bench``: how well and how fast a server hears, on this machine, with your own audio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.cli.terminal import Compartment, ConfigFile, ProfileName

if TYPE_CHECKING:
    from stapes.cli.bench_reports import Measured
    from stapes.engines.port import HearingParams
    from stapes.measuring.clips import Clip

STANDARD_OUTPUT = Path("-")
DEFAULT_FINAL_SILENCE_MS = 700
UNREACHABLE_STREAMS = 1000
ENGLISH = {"ORACLE": "en-US", "WHISPER": "en"}

app = typer.Typer(no_args_is_help=True, help="Measure word errors, delays and capacity.")

Url = Annotated[
    str | None,
    typer.Option(help="A running server.", show_default="one is started for the occasion"),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the figures as JSON; - prints them.")
]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw a plot: .png or .svg.")]
Clips = Annotated[int | None, typer.Option(help="At most this many clips of each set.", min=1)]
Manifest = Annotated[
    Path | None,
    typer.Argument(help="JSON lines: audio, text, if need be set.", show_default="bundled samples"),
]
Language = Annotated[
    str | None, typer.Option(help="Language code.", show_default="en-US, or en for WHISPER")
]
ModelType = Annotated[str, typer.Option(help="ORACLE or WHISPER: the kind of model that hears.")]
FinalSilence = Annotated[
    int, typer.Option("--final-silence-ms", help="Silence that settles a final, ms.", max=5000)
]


@app.command()
def wer(
    manifest: Manifest = None,
    *,
    direct: Annotated[
        bool,
        typer.Option("--direct", help="Call the engine directly as well, on the same audio."),
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(help="The engine for --direct.", show_default="the one of the settings"),
    ] = None,
    language: Language = None,
    model_type: ModelType = "ORACLE",
    clips: Clips = None,
    url: Url = None,
    config_file: ConfigFile = None,
    profile: ProfileName = "DEFAULT",
    compartment: Compartment = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Count word errors, set by set, with a 95 % confidence interval.

    A manifest has one JSON object a line with audio (a path, relative to the manifest), text, and
    if need be set and language. Needs the extra bench.

    For example:

    - stapes bench wer
    - stapes bench wer calls.jsonl --clips 50 --direct --plot wer.svg
    - stapes bench wer anrufe.jsonl --model-type WHISPER --language de
    """
    from stapes.cli.bench_reports import measure_words
    from stapes.cli.own_server import server_at
    from stapes.measuring.scoring import normaliser

    hearing = _hearing(language, model_type)
    normaliser(hearing.language)  # a missing extra is told before anything is heard
    _check_files(json_file, plot)
    chosen = _clips(manifest, hearing, clips)
    called = ((engine, None) if engine else _serving(hearing)) if direct else None
    with server_at(url, config_file, profile, compartment) as server:
        measured = measure_words(server, chosen, hearing, called)
    _publish(measured, json_file, plot)


@app.command()
def latency(
    manifest: Manifest = None,
    *,
    final_silence_ms: FinalSilence = DEFAULT_FINAL_SILENCE_MS,
    language: Language = None,
    model_type: ModelType = "ORACLE",
    clips: Clips = None,
    url: Url = None,
    config_file: ConfigFile = None,
    profile: ProfileName = "DEFAULT",
    compartment: Compartment = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Time first partials and finals of speech that is sent as it is spoken.

    Every clip is a session of its own, one after the other, cut to its speech and with silence
    after it. Where speech begins and ends is told by its loudness.

    For example:

    - stapes bench latency
    - stapes bench latency calls.jsonl --final-silence-ms 500 --json latency.json
    """
    from stapes.cli.bench_reports import measure_delays
    from stapes.cli.own_server import server_at

    hearing = _hearing(language, model_type)
    _check_files(json_file, plot)
    chosen = _clips(manifest, hearing, clips)
    with server_at(url, config_file, profile, compartment) as server:
        measured = measure_delays(server, chosen, hearing, final_silence_ms)
    _publish(measured, json_file, plot)


@app.command()
def capacity(
    manifest: Manifest = None,
    *,
    final_silence_ms: FinalSilence = DEFAULT_FINAL_SILENCE_MS,
    most: Annotated[
        int | None, typer.Option(help="Stop at this many streams.", min=1, show_default="none")
    ] = None,
    language: Language = None,
    model_type: ModelType = "ORACLE",
    clips: Clips = None,
    url: Url = None,
    config_file: ConfigFile = None,
    profile: ProfileName = "DEFAULT",
    compartment: Compartment = None,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Find how many streams a core hears in real time.

    More and more streams play all clips at once, until the 95th percentile of the finals lies more
    than 300 ms beyond the threshold, twice. Ctrl-C ends it, and what was found is printed. This
    process plays the streams: its own work is part of what the machine does.

    For example:

    - stapes bench capacity
    - stapes bench capacity calls.jsonl --clips 4 --most 16 --plot capacity.png
    """
    from stapes.cli.bench_reports import measure_capacity
    from stapes.cli.own_server import server_at

    hearing = _hearing(language, model_type)
    _check_files(json_file, plot)
    chosen = _clips(manifest, hearing, clips)
    # Our own server is to take what it is given: the measurement finds the limit.
    limits = {
        "STAPES_STREAMS": str(most or UNREACHABLE_STREAMS),
        "STAPES_LIVE_SESSIONS_PER_TENANCY": "0",
    }
    with server_at(url, config_file, profile, compartment, defaults=limits) as server:
        measured = measure_capacity(server, chosen, hearing, final_silence_ms, most)
    _publish(measured, json_file, plot)


def _hearing(language: str | None, model_type: str) -> HearingParams:
    """What every session asks for; without a language, English."""
    from stapes.engines.port import HearingParams

    kind = model_type.upper()
    return HearingParams(language or ENGLISH.get(kind, ENGLISH["ORACLE"]), kind)


def _check_files(json_file: Path | None, plot: Path | None) -> None:
    """Raises `MeasuringError` when a file could not be written later: before all the work."""
    from stapes.errors import MeasuringError
    from stapes.measuring.plots import check_plot

    check_plot(plot)
    if json_file is not None and not json_file.parent.is_dir():
        raise MeasuringError(f"there is no folder {json_file.parent} for the figures")


def _clips(manifest: Path | None, hearing: HearingParams, most: int | None) -> list[Clip]:
    """The clips that are asked for. Raises `MeasuringError` for one that is not there."""
    from stapes.errors import MeasuringError
    from stapes.measuring.clips import bundled, read_manifest, spread

    chosen = spread(read_manifest(manifest, hearing.language) if manifest else bundled(), most)
    for clip in chosen:
        if not clip.path.is_file():
            raise MeasuringError(f"there is no file {clip.path}, which {manifest} names")
    return chosen


def _serving(hearing: HearingParams) -> tuple[str, Path | None]:
    """Engine and folder of the model that our own server would hear this with."""
    from stapes.models.catalogue import Need, choose, read_catalogue
    from stapes.models.shelf import only, read_shelf
    from stapes.settings import load

    settings = load()
    if settings.engine is not None:
        return settings.engine, settings.model
    catalogue = read_catalogue(settings.home)
    shelf = read_shelf(settings.shelf, catalogue)
    chosen = shelf.models.values() if settings.model is None else only(str(settings.model), shelf)
    models = {model.name: model for model in chosen if model.row.hears}
    best = choose({name: model.row.needs for name, model in models.items()}, catalogue)
    last = next(iter(models))  # what comes with Stapes, or the one that was named
    need = Need(hearing.model_type, hearing.model_domain, hearing.language)
    model = models[best.get(need, last)]
    return model.row.engine, model.folder


def _publish(measured: Measured, json_file: Path | None, plot: Path | None) -> None:
    """Table, JSON and plot; the table goes to standard error when JSON goes to standard output."""
    from rich.console import Console

    is_printed = json_file == STANDARD_OUTPUT
    Console(stderr=is_printed).print(*measured.tables)
    document = json.dumps(measured.figures, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    if is_printed:
        typer.echo(document, nl=False)
    elif json_file is not None:
        json_file.write_text(document, encoding="utf-8")
    if plot is not None:
        measured.draw(plot)
