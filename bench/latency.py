"""How late first partials and finals come, one stream at a time, as spoken.

``scripts/bench latency [--manifest FILE] [--clips N] [--json]``. The measurement of ``stapes bench
latency`` over the bundled samples, each twice at every threshold: 95 % of the finals have to come
within 150 ms beyond the threshold after the true end of speech, and half of the first partials
within 500 ms of the begin of the first word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.progress import track

from bench.both_ways import as_server, chosen_clips, parse
from bench.harness import Bar, Report
from stapes.cli.bench_reports import AFTER_MS, delays_table
from stapes.cli.own_server import own_server
from stapes.measuring.delays import as_figures, delays, joined, percentiles
from stapes.measuring.playing import play, script

THRESHOLDS_MS = (500, 1000, 2000)
TURNS = 2
LATEST_FINAL_MS = 150
LATEST_PARTIAL_MS = 500


def run(arguments: Sequence[str]) -> Report:
    """Play every clip at every threshold in a session of its own."""
    asked = parse("latency", __doc__, arguments)
    clips = chosen_clips(asked)
    found = []
    with own_server() as own:
        for clip in track(clips * TURNS, "clips"):
            pcm = clip.pcm()
            for threshold_ms in THRESHOLDS_MS:
                played = script([pcm], threshold_ms + AFTER_MS)
                parameters = {"finalSilenceThresholdInMs": str(threshold_ms)}
                shown = asyncio.run(play(as_server(own), played.pcm, parameters))
                found.append(delays(played, shown, threshold_ms))
    together = joined(found)
    final = percentiles(together.final_ms)["p95"]
    partial = percentiles(together.first_partial_ms)["p50"]
    assert final is not None, "no final came"
    assert partial is not None, "no partial came"
    bars = [
        Bar.at_most("final beyond the threshold, p95, ms", final, LATEST_FINAL_MS),
        Bar.at_most("first partial, p50, ms", partial, LATEST_PARTIAL_MS),
        Bar.at_most("clips without a final", together.missed, 0),
    ]
    return Report("latency", as_figures(together), bars, delays_table(together))
