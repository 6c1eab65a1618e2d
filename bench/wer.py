"""Word error rate, set by set: the engine called directly, and through the service.

``scripts/bench wer [--manifest FILE] [--clips N] [--json]``. A manifest has one JSON object a
line: file (relative to the manifest), transcript, language. The first folder of a file is its set.
Without one the bundled samples are used. ``--clips N`` takes at most N clips of each set, spread
evenly.

Both sides of every comparison are normalised alike (`whisper_normalizer`, English). Sets are never
pooled. Where a set has at least 200 words, the service may be at most one point worse.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import jiwer
from rich.progress import Progress, track
from rich.table import Table
from whisper_normalizer.english import EnglishTextNormalizer

from bench.harness import Bar, Report
from bench.hearing import (
    Clip,
    bundled,
    hear_through_service,
    read_manifest,
    sets,
    spread,
    texts_heard_directly,
)
from stapes.cli.own_server import OwnServer, own_server

WORDS_FOR_A_BAR = 200
POINTS_ALLOWED = 1.0


def run(arguments: Sequence[str]) -> Report:
    """Hear every clip both ways and compare."""
    asked = _parse(arguments)
    clips = spread(read_manifest(asked.manifest) if asked.manifest else bundled(), asked.clips)
    processes = os.cpu_count() or 1
    found = track(texts_heard_directly(clips, processes), "direct", total=len(clips))
    direct = list(found)
    with own_server() as server:
        service = asyncio.run(_hear_all(server, clips, processes))
    return _report(clips, direct, service)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench wer", description=__doc__)
    parser.add_argument("--manifest", type=Path, help="clips with their texts, JSON lines")
    parser.add_argument("--clips", type=int, help="at most this many clips of each set")
    return parser.parse_args(arguments)


async def _hear_all(server: OwnServer, clips: Sequence[Clip], at_once: int) -> list[str]:
    places = asyncio.Semaphore(at_once)
    with Progress() as progress:
        task = progress.add_task("service", total=len(clips))

        async def hear(clip: Clip) -> str:
            async with places:
                text = await hear_through_service(server, clip.pcm())
                progress.advance(task)
                return text

        return list(await asyncio.gather(*(hear(clip) for clip in clips)))


def _report(clips: Sequence[Clip], direct: Sequence[str], service: Sequence[str]) -> Report:
    table = Table("set", "clips", "words", "direct WER %", "service WER %", "difference")
    figures: dict[str, dict[str, float]] = {}
    bars = []
    for name in sets(clips):
        rows = [index for index, clip in enumerate(clips) if clip.set == name]
        texts = [clips[index].text for index in rows]
        words = sum(len(_normalise(text).split()) for text in texts)
        wer_direct, wer_service = (
            wer(texts, [heard[index] for index in rows]) for heard in (direct, service)
        )
        worse = round(wer_service - wer_direct, 2)
        figures[name] = {
            "clips": len(rows),
            "words": words,
            "direct": wer_direct,
            "service": wer_service,
        }
        shown = (f"{value:.2f}" for value in (wer_direct, wer_service))
        table.add_row(name, str(len(rows)), str(words), *shown, f"{worse:+.2f}")
        if words >= WORDS_FOR_A_BAR:
            bars.append(Bar.at_most(f"{name}: points worse", worse, POINTS_ALLOWED))
    return Report("wer", figures, bars, table)


def wer(texts: Sequence[str], heard: Sequence[str]) -> float:
    """Word error rate in percent over all texts of a set, both sides normalised."""
    expected = [_normalise(text) for text in texts]
    found = [_normalise(text) for text in heard]
    return round(100 * float(jiwer.wer(expected, found)), 2)


_NORMALISER = EnglishTextNormalizer()


def _normalise(text: str) -> str:
    return str(_NORMALISER(text))
