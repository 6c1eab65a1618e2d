"""What each ``stapes bench`` command measures, as tables for people and figures for programs."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from stapes.client.profile import Server
from stapes.client.urls import is_loopback
from stapes.engines.port import HearingParams
from stapes.engines.registry import load_engine
from stapes.measuring import plots
from stapes.measuring.capacity import LATEST_MS, Step, climb
from stapes.measuring.clips import Clip, sets
from stapes.measuring.delays import Delays, as_figures, delays, joined
from stapes.measuring.direct import hear
from stapes.measuring.playing import play, script, text_of
from stapes.measuring.scoring import Scored, WordErrorRate, score, word_error_rate, worst
from stapes.workers.cores import cores

AFTER_MS = 1500
"""Silence after each clip beyond the threshold, so that a late final is still seen."""

READY_TIMEOUT_S = 5.0
WORST = 5
SHOWN_CHARACTERS = 72


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command found. ``figures`` is JSON; ``draw`` makes its plot."""

    figures: Mapping[str, Any]
    tables: Sequence[Table]
    draw: Callable[[Path], None]


def measure_words(
    server: Server,
    clips: Sequence[Clip],
    hearing: HearingParams,
    called: tuple[str, Path | None] | None,
) -> Measured:
    """Hear every clip through the server, and with an engine called directly if one is named.

    ``called`` is its name and the folder of its model.
    """
    model = model_at(server.url, hearing)
    heard = {"service": [_through(server, clip, hearing) for clip in _tracked(clips, "service")]}
    if called is not None:
        loaded = load_engine(*called)
        directly = [hear(loaded, clip.pcm(), hearing) for clip in _tracked(clips, "direct")]
        heard["direct"] = [each.text for each in directly]
    scored = {
        way: [
            score(clip.text, text, hearing.language)
            for clip, text in zip(clips, texts, strict=True)
        ]
        for way, texts in heard.items()
    }
    rates = {
        name: {way: word_error_rate(_of(name, clips, found)) for way, found in scored.items()}
        for name in sets(clips)
    }
    wrong = _with_clips(worst(scored["service"], WORST), clips, scored["service"])
    figures = {
        "machine": machine(),
        "model": model,
        "sets": {name: _rates_as_json(each) for name, each in rates.items()},
        "worst": [{"audio": str(clip.path), **asdict(each)} for clip, each in wrong],
    }
    return Measured(
        figures,
        [_rates_table(rates, model), *([_worst_table(wrong)] if wrong else [])],
        lambda path: plots.draw_word_errors(path, rates, "Word error rate, 95 % interval"),
    )


def measure_delays(
    server: Server, clips: Sequence[Clip], hearing: HearingParams, threshold_ms: int
) -> Measured:
    """Play every clip in a session of its own, as it would be spoken."""
    model = model_at(server.url, hearing)
    parameters = {"finalSilenceThresholdInMs": str(threshold_ms), **_asked(hearing)}
    found = []
    for clip in _tracked(clips, "clips"):
        played = script([clip.pcm()], threshold_ms + AFTER_MS)
        shown = asyncio.run(play(server, played.pcm, parameters))
        found.append(delays(played, shown, threshold_ms))
    together = joined(found)
    figures = {
        "machine": machine(),
        "model": model,
        "final_silence_ms": threshold_ms,
        **as_figures(together),
    }
    return Measured(
        figures,
        [delays_table(together, model)],
        lambda path: plots.draw_delays(path, together, f"Delays at {threshold_ms} ms of silence"),
    )


def measure_capacity(
    server: Server,
    clips: Sequence[Clip],
    hearing: HearingParams,
    threshold_ms: int,
    most: int | None,
) -> Measured:
    """Play all clips on more and more streams at once. Ctrl-C ends it with what was found."""
    played = script([clip.pcm() for clip in clips], threshold_ms + AFTER_MS)
    model = model_at(server.url, hearing)
    parameters = {"finalSilenceThresholdInMs": str(threshold_ms), **_asked(hearing)}
    steps: list[Step] = []
    console = Console(stderr=True)

    async def follow() -> None:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("1 stream", total=None)
            async for step in climb(server, played, parameters, threshold_ms, most):
                steps.append(step)
                progress.console.print(_told(step))
                progress.update(task, description=f"after {step.streams} streams, more")

    try:
        asyncio.run(follow())
    except KeyboardInterrupt:
        console.print("interrupted; this is what was found:")
    kept = max((step.streams for step in steps if step.kept_up), default=0)
    figures = {
        "machine": machine(),
        "model": model,
        "final_silence_ms": threshold_ms,
        "latest_ms": LATEST_MS,
        "steps": [_step_as_json(step) for step in steps],
        "streams": kept,
        "streams_per_core": round(kept / cores(), 2),
        "limit_found": bool(steps) and not steps[-1].kept_up,
    }
    return Measured(
        figures,
        [_steps_table(steps, kept, model)],
        lambda path: plots.draw_capacity(path, steps, f"{kept} streams on {cores()} cores"),
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": platform.platform(),
        "cores": cores(),
        "python": platform.python_version(),
    }


def model_at(url: str, hearing: HearingParams) -> str | None:
    """The name of the model that serves this at a server; None when the server does not say."""
    page = f"{url.rstrip('/')}/ready"
    try:
        answer = httpx.get(page, timeout=READY_TIMEOUT_S, trust_env=not is_loopback(url))
        shares = answer.json()["models"]
        serving = (share["model"] for share in shares if _serves(share, hearing))
        return next(serving, None)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None  # OCI itself has no such page


def _serves(share: Mapping[str, Any], hearing: HearingParams) -> bool:
    return (
        share["modelType"] == hearing.model_type
        and hearing.model_domain in share["modelDomains"]
        and hearing.language in share["languageCodes"]
    )


def delays_table(found: Delays, model: str | None = None) -> Table:
    """Percentiles of delays."""
    figures = as_figures(found)
    table = Table("ms", "p50", "p95", "p99", title=_titled(f"{figures['clips']} clips", model))
    rows = {
        "first partial after the first word began": "first_partial_ms",
        "final beyond the threshold": "final_beyond_threshold_ms",
        "  by the audio's own clock": "final_beyond_threshold_audio_ms",
    }
    for title, name in rows.items():
        row = figures[name]
        assert isinstance(row, dict)
        table.add_row(title, *(_whole(value) for value in row.values()))
    rate = figures["taken_back_per_100_words"]
    table.caption = (
        f"{rate} words taken back per 100; {found.missed} clips without a final, "
        f"{figures['without_partials']} without a partial"
    )
    return table


def _through(server: Server, clip: Clip, hearing: HearingParams) -> str:
    return text_of(asyncio.run(play(server, clip.pcm(), _asked(hearing), fast=True)))


def _asked(hearing: HearingParams) -> dict[str, str]:
    """The parameters of a session that is heard so."""
    return {"languageCode": hearing.language, "modelType": hearing.model_type}


def _titled(title: str, model: str | None) -> str:
    return f"{title}, heard by {model}" if model else title


def _with_clips(
    some: Sequence[Scored], clips: Sequence[Clip], scored: Sequence[Scored]
) -> list[tuple[Clip, Scored]]:
    """Some of ``scored``, each with its clip."""
    found = {id(each): clip for clip, each in zip(clips, scored, strict=True)}
    return [(found[id(each)], each) for each in some]


def _of(name: str, clips: Sequence[Clip], scored: Sequence[Scored]) -> list[Scored]:
    return [each for clip, each in zip(clips, scored, strict=True) if clip.set == name]


def _rates_as_json(rates: Mapping[str, WordErrorRate]) -> dict[str, Any]:
    return {way: asdict(rate) for way, rate in rates.items()}


def _rates_table(rates: Mapping[str, Mapping[str, WordErrorRate]], model: str | None) -> Table:
    columns = ("set", "heard by", "clips", "words", "WER %", "95 %", "sub", "del", "ins")
    table = Table(*columns, title=_titled("word errors", model))
    for name, ways in rates.items():
        for way, rate in ways.items():
            # Of one utterance nobody can tell how much another one would differ.
            bounds = f"{rate.low:.1f} to {rate.high:.1f}" if rate.utterances > 1 else "-"
            sizes = (rate.utterances, rate.words)
            counts = (rate.substitutions, rate.deletions, rate.insertions)
            shown = (*map(str, sizes), f"{rate.percent:.1f}", bounds, *map(str, counts))
            table.add_row(name, way, *shown)
    return table


def _worst_table(wrong: Sequence[tuple[Clip, Scored]]) -> Table:
    table = Table("errors", "file", "spoken", "heard", title="worst utterances")
    for clip, each in wrong:
        texts = (text[:SHOWN_CHARACTERS] for text in (each.spoken, each.heard))
        table.add_row(f"{each.errors} of {each.words}", clip.path.name, *texts)
    return table


def _steps_table(steps: Sequence[Step], kept: int, model: str | None) -> Table:
    table = Table("streams", "p50", "p95", "p99", "kept up")
    for step in steps:
        figures = as_figures(step.delays)["final_beyond_threshold_ms"]
        assert isinstance(figures, dict)
        shown = (_whole(value) for value in figures.values())
        table.add_row(str(step.streams), *shown, _verdict(step))
    table.title = _titled("finals beyond the threshold, ms", model)
    table.caption = f"{kept} streams in real time on {cores()} cores: {kept / cores():.2f} a core"
    return table


def _verdict(step: Step) -> str:
    """Whether so many streams were heard in time, and if not, why."""
    if step.kept_up:
        return "yes"
    return step.problem or (f"NO: {step.missing} finals missing" if step.missing else "NO")


def _told(step: Step) -> str:
    p95 = _whole(step.p95_ms)
    return f"{step.streams} streams: p95 {p95} ms, {'kept up' if step.kept_up else 'did not'}"


def _step_as_json(step: Step) -> dict[str, Any]:
    told = as_figures(step.delays)
    return {"streams": step.streams, "kept_up": step.kept_up, "problem": step.problem, **told}


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _tracked(clips: Sequence[Clip], what: str) -> Any:
    return track(clips, what, console=Console(stderr=True), transient=True)
