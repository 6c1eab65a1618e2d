"""When finals fire: the silence threshold after the true end of speech, give or take 100 ms.

``scripts/bench endpoints [--manifest FILE] [--clips N] [--json]``. At 0, 200, 500, 2000 and
5000 ms, over the bundled samples, each cut to its speech with digital silence after it; one stream
at a time, as spoken. 0 counts as 200 ms, which is how long it takes until silence is sure. By two
clocks:

* audio: how much audio after the end of speech the server had heard when it decided.
* wall: when the final came, of a stream that is sent as it is spoken. It has the way of the last
  chunk and the decoder's last work in it.

The earliest final and 95 % of them have to lie within the bar by either clock. With a manifest
the end of speech is told by loudness, which noise and trailing breath make later than a listener
would; the figures are then for reading and the bars are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.progress import track
from rich.table import Table

from bench.both_ways import as_server, chosen_clips, parse
from bench.harness import Bar, Report
from stapes.cli.bench_reports import AFTER_MS
from stapes.cli.own_server import own_server
from stapes.measuring.delays import Delays, delays, joined, percentiles
from stapes.measuring.playing import play, script

THRESHOLDS_MS = (0, 200, 500, 2000, 5000)
TOLERANCE_MS = 100


def run(arguments: Sequence[str]) -> Report:
    """Play every clip at every threshold."""
    asked = parse("endpoints", __doc__, arguments)
    pcms = [clip.pcm() for clip in chosen_clips(asked)]
    found: dict[int, Delays] = {}
    with own_server() as own:
        for threshold_ms in track(THRESHOLDS_MS, "thresholds"):
            plays = []
            for pcm in pcms:
                played = script([pcm], threshold_ms + AFTER_MS)
                parameters = {"finalSilenceThresholdInMs": str(threshold_ms)}
                shown = asyncio.run(play(as_server(own), played.pcm, parameters))
                plays.append(delays(played, shown, threshold_ms))
            found[threshold_ms] = joined(plays)
    return _report(found)


def _report(found: dict[int, Delays]) -> Report:
    table = Table("threshold, ms", "clock", "earliest", "p50", "p95", "latest", "without a final")
    figures: dict[str, object] = {}
    bars = []
    for threshold_ms, each in found.items():
        for clock, values in (("audio", each.decided_ms), ("wall", each.final_ms)):
            told = {**percentiles(values), "earliest": min(values), "latest": max(values)}
            figures[f"{threshold_ms} {clock}"] = told
            shown = (f"{told[name]:+.0f}" for name in ("earliest", "p50", "p95", "latest"))
            table.add_row(str(threshold_ms), clock, *shown, str(each.missed))
            name = f"{threshold_ms} ms, {clock} clock: off, ms"
            off = max(abs(told["earliest"] or 0), abs(told["p95"] or 0))
            bars.append(Bar.at_most(name, round(off), TOLERANCE_MS))
        bars.append(Bar.at_most(f"{threshold_ms} ms: clips without a final", each.missed, 0))
    return Report("endpoints", figures, bars, table)
