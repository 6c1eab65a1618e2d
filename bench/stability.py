"""What stabilizePartialResults gains and costs: words that change, and how much later words come.

``scripts/bench stability [--manifest FILE] [--clips N] [--json]``. Every clip is sent once
at each level, one session at a time, as fast as it was spoken: partials are paced by the wall
clock, and sessions that share busy cores would measure each other. Without a manifest the bundled
samples are used; ``--clips N`` takes at most N clips of each set. What each level promises
(`stapes.protocol.stabilize.PROMISED_CHANGES`) is a bar for the bundled samples.

* changed: of 100 words that partials showed, how many the final does not have, with their text and
  at their time. A word counts once in every partial that shows it.
* taken back: the words of a result from the first one on that the next result of the utterance
  (its last one is the final) no longer has there; per 100 words of the finals.
* delay: how much later than at NONE a word of a final was shown for the first time, with its text
  and at its time; mean over all words.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from itertools import pairwise

from rich.progress import track
from rich.table import Table

from bench.both_ways import as_server, chosen_clips, parse
from bench.harness import Bar, Report
from stapes.cli.own_server import OwnServer, own_server
from stapes.measuring.clips import Clip
from stapes.measuring.delays import taken_back, utterances
from stapes.measuring.playing import Shown, play
from stapes.protocol.stabilize import LEVELS, PROMISED_CHANGES
from stapes.protocol.words import Word


def run(arguments: Sequence[str]) -> Report:
    """Hear every clip at every level and compare with NONE."""
    asked = parse("stability", __doc__, arguments)
    clips = chosen_clips(asked)
    with own_server() as server:
        heard = [asyncio.run(_hear(server, clip)) for clip in track(clips, "clips")]
    return _report(heard, is_bundled=asked.manifest is None)


async def _hear(server: OwnServer, clip: Clip) -> dict[str, list[Shown]]:
    """What each level showed of one clip."""
    pcm, own = clip.pcm(), as_server(server)
    return {level: await play(own, pcm, {"stabilizePartialResults": level}) for level in LEVELS}


def changed(utterance: Sequence[Shown]) -> tuple[int, int]:
    """Words that the partials showed and the final does not have, and all words they showed."""
    *partials, final = (each.result.words for each in utterance)
    shown = [word for words in partials for word in words]
    lost = sum(not any(_is_same(word, kept) for kept in final) for word in shown)
    return lost, len(shown)


def first_shown_s(utterance: Sequence[Shown]) -> list[float]:
    """When each word of the final was first shown with its text and at its time."""
    return [
        next(each.at_s for each in utterance if any(_is_same(word, w) for w in each.result.words))
        for word in utterance[-1].result.words
    ]


def _is_same(word: Word, other: Word) -> bool:
    overlaps = word.start_ms <= other.end_ms and other.start_ms <= word.end_ms
    return overlaps and word.text == other.text


def _report(heard: Sequence[dict[str, list[Shown]]], *, is_bundled: bool) -> Report:
    table = Table("level", "words", "changed / 100", "taken back / 100", "later than at NONE, ms")
    figures: dict[str, dict[str, float]] = {}
    bars = []
    for level in LEVELS:
        figures[level] = _figures(heard, level)
        words, share, back, delay = figures[level].values()
        table.add_row(level, f"{words:.0f}", f"{share:.1f}", f"{back:.1f}", f"{delay:.0f}")
        if is_bundled:
            bars.append(Bar.at_most(f"{level}: changed / 100", share, PROMISED_CHANGES[level]))
    for looser, stricter in pairwise(LEVELS):
        more, less = figures[looser], figures[stricter]
        name = "taken_back_per_100_words"
        bars.append(Bar.at_most(f"{stricter}: taken back, as at {looser}", less[name], more[name]))
        name = "delay_ms"
        bars.append(Bar.at_least(f"{stricter}: delay, as at {looser}", less[name], more[name]))
    return Report("stability", figures, bars, table)


def _figures(heard: Sequence[dict[str, list[Shown]]], level: str) -> dict[str, float]:
    words = back = lost = seen = 0
    delays_s: list[float] = []
    for levels in heard:
        pairs = zip(utterances(levels["NONE"]), utterances(levels[level]), strict=True)
        for plain, stabilised in pairs:
            words += len(stabilised[-1].result.words)
            back += taken_back(stabilised)
            counts = changed(stabilised)
            lost, seen = lost + counts[0], seen + counts[1]
            times = zip(first_shown_s(plain), first_shown_s(stabilised), strict=True)
            delays_s += [late - early for early, late in times]
    return {
        "words": words,
        "changed_per_100_shown": round(100 * lost / max(seen, 1), 2),
        "taken_back_per_100_words": round(100 * back / max(words, 1), 2),
        "delay_ms": round(1000 * statistics.fmean(delays_s or [0.0])),
    }
