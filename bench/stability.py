"""What stabilizePartialResults gains and costs: words taken back, and how much later words come.

``scripts/bench stability [--manifest FILE] [--clips N] [--json]``. Every clip is sent once
at each level, one session at a time, as fast as it was spoken: partials are paced by the wall
clock, and sessions that share busy cores would measure each other. Without a manifest the bundled
samples are used; ``--clips N`` takes at most N clips of each set.

* taken back: the words of a result from the first one on that the next result of the utterance
  (its last one is the final) no longer has there; per 100 words of the finals.
* delay: how much later than at NONE a word of a final was shown for the first time, with its text
  and at its time; mean over all words.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

from rich.progress import track
from rich.table import Table

from bench.harness import Bar, Report
from bench.hearing import CHUNK_BYTES, RATE_HZ, Clip, bundled, read_manifest, spread
from stapes import Result, Session, connect
from stapes.audio.encodings import Pcm
from stapes.cli.own_server import OwnServer, own_server
from stapes.protocol.stabilize import LEVELS
from stapes.protocol.words import Word

CHUNK_S = CHUNK_BYTES / 2 / RATE_HZ


@dataclass(frozen=True, slots=True)
class Shown:
    """A result and when it came: seconds since the stream's first audio was sent."""

    at_s: float
    result: Result


def run(arguments: Sequence[str]) -> Report:
    """Hear every clip at every level and compare with NONE."""
    asked = _parse(arguments)
    clips = spread(read_manifest(asked.manifest) if asked.manifest else bundled(), asked.clips)
    with own_server() as server:
        heard = [asyncio.run(_hear(server, clip)) for clip in track(clips, "clips")]
    return _report(heard)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench stability", description=__doc__)
    parser.add_argument("--manifest", type=Path, help="clips with their texts, JSON lines")
    parser.add_argument("--clips", type=int, help="at most this many clips of each set")
    return parser.parse_args(arguments)


async def _hear(server: OwnServer, clip: Clip) -> dict[str, list[Shown]]:
    """What each level showed of one clip."""
    pcm = clip.pcm()
    return {level: await _hear_at(server, pcm, level) for level in LEVELS}


async def _hear_at(server: OwnServer, pcm: Pcm, level: str) -> list[Shown]:
    async with connect(
        server.url, profile=server.profile, parameters={"stabilizePartialResults": level}
    ) as session:
        began_at = time.monotonic()
        sending = asyncio.create_task(_send_as_spoken(session, pcm.tobytes(), began_at))
        shown = [Shown(time.monotonic() - began_at, result) async for result in session]
        await sending
    return shown


async def _send_as_spoken(session: Session, audio: bytes, began_at: float) -> None:
    for number, start in enumerate(range(0, len(audio), CHUNK_BYTES), 1):
        await asyncio.sleep(began_at + number * CHUNK_S - time.monotonic())
        await session.send(audio[start : start + CHUNK_BYTES])
    await session.finish()


def utterances(shown: Sequence[Shown]) -> list[list[Shown]]:
    """The results of each utterance in order, its final last."""
    found: list[list[Shown]] = [[]]
    for each in shown:
        found[-1].append(each)
        if each.result.is_final:
            found.append([])
    return found[:-1]


def taken_back(utterance: Sequence[Shown]) -> int:
    """Words shown that the result after them no longer has in their place."""
    texts = [[word.text for word in each.result.words] for each in utterance]
    return sum(len(before) - _common(before, after) for before, after in pairwise(texts))


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    same = (old == new for old, new in zip(before, after, strict=False))
    return sum(1 for _ in takewhile(bool, same))


def first_shown_s(utterance: Sequence[Shown]) -> list[float]:
    """When each word of the final was first shown with its text and at its time."""
    return [
        next(each.at_s for each in utterance if any(_is_same(word, w) for w in each.result.words))
        for word in utterance[-1].result.words
    ]


def _is_same(word: Word, other: Word) -> bool:
    overlaps = word.start_ms <= other.end_ms and other.start_ms <= word.end_ms
    return overlaps and word.text == other.text


def _report(heard: Sequence[dict[str, list[Shown]]]) -> Report:
    table = Table("level", "words", "taken back / 100 words", "later than at NONE, ms")
    figures: dict[str, dict[str, float]] = {}
    for level in LEVELS:
        figures[level] = _figures(heard, level)
        words, back, delay = figures[level].values()
        table.add_row(level, f"{words:.0f}", f"{back:.1f}", f"{delay:.0f}")
    bars = []
    for looser, stricter in pairwise(LEVELS):
        more, less = figures[looser], figures[stricter]
        name = "taken_back_per_100_words"
        bars.append(Bar.at_most(f"{stricter}: taken back, as at {looser}", less[name], more[name]))
        name = "delay_ms"
        bars.append(Bar.at_least(f"{stricter}: delay, as at {looser}", less[name], more[name]))
    return Report("stability", figures, bars, table)


def _figures(heard: Sequence[dict[str, list[Shown]]], level: str) -> dict[str, float]:
    words = back = 0
    delays_s: list[float] = []
    for levels in heard:
        pairs = zip(utterances(levels["NONE"]), utterances(levels[level]), strict=True)
        for plain, stabilised in pairs:
            words += len(stabilised[-1].result.words)
            back += taken_back(stabilised)
            times = zip(first_shown_s(plain), first_shown_s(stabilised), strict=True)
            delays_s += [late - early for early, late in times]
    return {
        "words": words,
        "taken_back_per_100_words": round(100 * back / max(words, 1), 2),
        "delay_ms": round(1000 * statistics.fmean(delays_s or [0.0])),
    }
