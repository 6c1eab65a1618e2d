"""First and last words of utterances: as often right through the service as called directly?

``scripts/bench clipping [--manifest FILE] [--clips N] [--json]``. Every clip is one utterance. A
word is right when the alignment of the fewest errors finds it where it was spoken. Words that are
cut off by segmentation would show here first. Over all clips, the share may be at most one point
lower; sets are shown apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from bench.both_ways import chosen_clips, parse, score_both
from bench.harness import Bar, Report
from stapes.cli.own_server import own_server
from stapes.measuring.clips import sets
from stapes.measuring.scoring import Scored

POINTS_ALLOWED = 1.0
ALL = "all clips"


def run(arguments: Sequence[str]) -> Report:
    """Hear every clip both ways; count first and last words that are right."""
    asked = parse("clipping", __doc__, arguments)
    clips = chosen_clips(asked)
    with own_server() as server:
        direct, service = score_both(server, clips, asked.processes)
    places = {name: [i for i, clip in enumerate(clips) if clip.set == name] for name in sets(clips)}
    table = Table("set", "clips", "word", "direct %", "service %", "difference")
    figures: dict[str, dict[str, float]] = {}
    bars = []
    for name, rows in {**places, ALL: range(len(clips))}.items():
        called, served = ([each[row] for row in rows] for each in (direct, service))
        figures[name] = shares(called, served)
        for word in ("first", "last"):
            before, after = figures[name][f"{word}_direct"], figures[name][f"{word}_service"]
            less = round(before - after, 2)
            shown = (f"{before:.1f}", f"{after:.1f}", f"{-less:+.1f}")
            table.add_row(name, str(len(called)), word, *shown)
            if name == ALL:
                bars.append(Bar.at_most(f"{word} words: points less right", less, POINTS_ALLOWED))
    return Report("clipping", figures, bars, table)


def shares(called: Sequence[Scored], served: Sequence[Scored]) -> dict[str, float]:
    """How many of the first and last words are right, percent, in each way of hearing."""
    return {
        f"{word}_{way}": _percent([getattr(each, f"{word}_right") for each in scored])
        for word in ("first", "last")
        for way, scored in (("direct", called), ("service", served))
    }


def _percent(right: Sequence[bool]) -> float:
    return round(100 * sum(right) / max(1, len(right)), 2)
