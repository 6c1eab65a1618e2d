"""Word errors, set by set, and CPU: the service beside the engine called directly.

``scripts/bench hearing [--manifest FILE] [--clips N] [--json]``. A manifest has one
JSON object a line: audio (relative to the manifest), text, set, language. Without one the bundled
samples are used. ``--clips N`` takes at most N clips of each set, spread evenly.

Words: both sides are normalised alike, and sets are never pooled. Where a set has at least 200
words, the service may be at most half a point worse. The difference has a 95 % interval of its
own, by a bootstrap over the utterances that both heard: a difference that lies within it may be
chance.

CPU: one session over 120 s of the clips, at the same time as the direct call; medians of the ratios
of three rounds. Voice activity detection, which the direct call does not have, is shown apart. The
direct call is the one whose words are compared, PocketSphinx as it is preset; beside it stands one
within the tighter limits of search that the service's engine has.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from bench.both_ways import chosen_clips, long_audio, parse, score_both
from bench.engine import cpu_round, ratios
from bench.harness import Bar, Report
from stapes.audio.encodings import Pcm
from stapes.cli.own_server import OwnServer, own_server
from stapes.measuring.clips import RATE_HZ, Clip, sets
from stapes.measuring.scoring import Scored, interval, word_error_rate

WORDS_FOR_A_BAR = 200
POINTS_ALLOWED = 0.5
HIGHEST_RATIO = 1.10
CALLS = {"preset": "direct", "direct": "direct within the same limits of search"}
ROUNDS = 3
SECONDS = 120


def run(arguments: Sequence[str]) -> Report:
    """Hear every clip both ways, then weigh what it costs."""
    asked = parse("hearing", __doc__, arguments)
    clips = chosen_clips(asked)
    with own_server() as server:
        direct, service = score_both(server, clips, asked.processes)
        costs, to_direct = _costs(server, long_audio(clips, SECONDS))
    return _report(clips, direct, service, costs, to_direct)


def _costs(server: OwnServer, pcm: Pcm) -> tuple[dict[str, float], dict[str, float]]:
    """CPU seconds per second of audio, and the ratios to the direct calls; medians of rounds."""
    rounds = [cpu_round(server, pcm) for _ in range(ROUNDS)]
    seconds = len(pcm) / RATE_HZ
    costs = {name: statistics.median(each[name] for each in rounds) / seconds for name in rounds[0]}
    return {name: round(value, 4) for name, value in costs.items()}, ratios(rounds)


def _report(
    clips: Sequence[Clip],
    direct: Sequence[Scored],
    service: Sequence[Scored],
    costs: dict[str, float],
    to_direct: dict[str, float],
) -> Report:
    table = Table("set", "clips", "words", "direct WER %", "service WER %", "difference", "95 %")
    figures: dict[str, object] = {"cpu_s_per_audio_s": costs, "ratios": to_direct}
    bars = []
    for name in sets(clips):
        rows = [index for index, clip in enumerate(clips) if clip.set == name]
        called, served = ([each[index] for index in rows] for each in (direct, service))
        rates = [word_error_rate(each) for each in (called, served)]
        worse = round(rates[1].percent - rates[0].percent, 2)
        low, high = _interval_of_difference(called, served)
        words = rates[0].words
        figures[name] = {
            "clips": len(rows),
            "words": words,
            "direct": rates[0].percent,
            "service": rates[1].percent,
            "points_worse": worse,
            "points_worse_95": [low, high],
        }
        shown = (f"{rate.percent:.2f}" for rate in rates)
        bounds = f"{low:+.2f} to {high:+.2f}"
        table.add_row(name, str(len(rows)), str(words), *shown, f"{worse:+.2f}", bounds)
        if words >= WORDS_FOR_A_BAR:
            bars.append(Bar.at_most(f"{name}: points worse", worse, POINTS_ALLOWED))
    for name, call in CALLS.items():
        bars.append(
            Bar.at_most(f"CPU: service without VAD / {call}", to_direct[name], HIGHEST_RATIO)
        )
    spent = ", ".join(f"{name} {value:.3f}" for name, value in costs.items())
    table.caption = f"CPU s per s of audio: {spent}"
    return Report("hearing", figures, bars, table)


def _interval_of_difference(
    called: Sequence[Scored], served: Sequence[Scored]
) -> tuple[float, float]:
    more = np.array([b.errors - a.errors for a, b in zip(called, served, strict=True)])
    return interval(more, np.array([each.words for each in called]))
