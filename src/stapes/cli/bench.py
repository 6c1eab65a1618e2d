"""``stapes bench``: how well and how fast a server hears, on this machine, with your own audio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.cli.terminal import Compartment, ConfigFile, ProfileName

if TYPE_CHECKING:
    from stapes.cli.bench_reports import Measured
    from stapes.measuring.clips import Clip

STANDARD_OUTPUT = Path("-")
DEFAULT_FINAL_SILENCE_MS = 700
UNREACHABLE_STREAMS = 1000

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
Language = Annotated[str, typer.Option(help="Language code.")]
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
    language: Language = "en-US",
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
    """
    from stapes.cli.bench_reports import measure_words
    from stapes.cli.own_server import server_at
    from stapes.measuring.scoring import normaliser

    normaliser(language)  # a missing extra is told before anything is heard
    chosen = _clips(manifest, language, clips, plot)
    called = ((engine, None) if engine else _serving(language)) if direct else None
    with server_at(url, config_file, profile, compartment) as server:
        measured = measure_words(server, chosen, language, called)
    _publish(measured, json_file, plot)


@app.command()
def latency(
    manifest: Manifest = None,
    *,
    final_silence_ms: FinalSilence = DEFAULT_FINAL_SILENCE_MS,
    language: Language = "en-US",
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

    chosen = _clips(manifest, language, clips, plot)
    with server_at(url, config_file, profile, compartment) as server:
        measured = measure_delays(server, chosen, language, final_silence_ms)
    _publish(measured, json_file, plot)


@app.command()
def capacity(
    manifest: Manifest = None,
    *,
    final_silence_ms: FinalSilence = DEFAULT_FINAL_SILENCE_MS,
    most: Annotated[
        int | None, typer.Option(help="Stop at this many streams.", min=1, show_default="none")
    ] = None,
    language: Language = "en-US",
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
    than 300 ms beyond the threshold. Ctrl-C ends it, and what was found is printed. This process
    plays the streams: its own work is part of what the machine does.

    For example:

    - stapes bench capacity
    - stapes bench capacity calls.jsonl --clips 4 --most 16 --plot capacity.png
    """
    from stapes.cli.bench_reports import measure_capacity
    from stapes.cli.own_server import server_at

    chosen = _clips(manifest, language, clips, plot)
    # Our own server is to take what it is given: the measurement finds the limit.
    streams = {"STAPES_STREAMS": str(most or UNREACHABLE_STREAMS)}
    with server_at(url, config_file, profile, compartment, defaults=streams) as server:
        measured = measure_capacity(server, chosen, language, final_silence_ms, most)
    _publish(measured, json_file, plot)


def _clips(manifest: Path | None, language: str, most: int | None, plot: Path | None) -> list[Clip]:
    from stapes.measuring.clips import bundled, read_manifest, spread

    if plot is not None:
        from stapes.measuring.plots import check_plot

        check_plot(plot)
    return spread(read_manifest(manifest, language) if manifest else bundled(), most)


def _serving(language: str) -> tuple[str, Path | None]:
    """Engine and folder of the model that our own server would hear this language with."""
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
    model = models[best.get(Need("ORACLE", "GENERIC", language), last)]
    return model.row.engine, model.folder


def _publish(measured: Measured, json_file: Path | None, plot: Path | None) -> None:
    """Table, JSON and plot; the table goes to standard error when JSON goes to standard output."""
    from rich.console import Console

    is_printed = json_file == STANDARD_OUTPUT
    Console(stderr=is_printed).print(*measured.tables)
    if plot is not None:
        measured.draw(plot)
    if json_file is None:
        return
    document = json.dumps(measured.figures, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    if is_printed:
        typer.echo(document, nl=False)
    else:
        json_file.write_text(document, encoding="utf-8")
