"""Whether a server stays as it is under load and faults: its memory, and how late finals come.

``scripts/bench soak [--minutes N] [--streams N] [--engine NAME] [--model FOLDER] [--seed N]
[--json]``. First it is measured how many streams the machine serves, as ``stapes bench capacity``
does it; 80 % of them then play the bundled samples of one sentence as spoken, one session after
another, and every 10 s something happens: a connection is reset or stalls, a worker is killed, or a
connection comes in small pieces. Every session has to hear the words of an undisturbed one.

The clock begins when every stream has. Memory is that of the first minute behind the first tenth of
the time against that of the last minute, each the median of what was seen: the server's own, and
that of the process that forks its workers. How late finals are counts from the end of speech, so
the threshold of silence is in it; compared are the first and the last five minutes, faults and all.
A shorter run has shorter spans in proportion.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Report
from bench.instances import Instance, instances
from bench.soaking import PARAMETERS, THRESHOLD_MS, Soak, soak_report
from stapes.cli.bench_reports import AFTER_MS
from stapes.client.profile import Profile, Server
from stapes.errors import MeasuringError
from stapes.measuring.capacity import Step, climb
from stapes.measuring.clips import RATE_HZ, bundled
from stapes.measuring.playing import Script, play, script, text_of
from tests.faults.proxy import proxy

LOAD = 0.8
LONGEST_S = 5
TIMES = 3
UNREACHABLE_STREAMS = "1000"


def run(arguments: Sequence[str]) -> Report:
    """Measure, load the server, disturb it, and compare the end with the begin."""
    parser = argparse.ArgumentParser("scripts/bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long")
    parser.add_argument("--streams", type=int, help="default: 80 %% of what is measured before")
    parser.add_argument("--engine", default="pocketsphinx", help="name of an engine")
    parser.add_argument("--model", help="folder of the engine's model")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    asked = parser.parse_args(arguments)
    settings = {"STAPES_ENGINE": asked.engine, "STAPES_STREAMS": UNREACHABLE_STREAMS}
    if asked.model:
        settings["STAPES_MODEL"] = asked.model
    with instances(1, settings) as (servers, profile):
        return asyncio.run(_run(servers[0], profile, asked))


async def _run(server: Instance, profile: Profile, asked: argparse.Namespace) -> Report:
    console = Console(stderr=True)
    played = _script()
    directly = Server(server.url, profile, profile.compartment)
    expected = text_of(await play(directly, played.pcm, PARAMETERS))
    assert expected, "nothing was heard"
    steps = [] if asked.streams else await _climb(directly, played, console)
    capacity = max((each.streams for each in steps if each.kept_up), default=0)
    if steps and not capacity:
        raise MeasuringError("not even one stream is heard in time here")
    streams = asked.streams or max(1, int(LOAD * capacity))
    async with proxy(server.url) as way:
        reached = Server(way.url, profile, profile.compartment)
        soak = Soak(server, reached, way, played, expected, asked.minutes * 60, asked.seed)
        await soak.run(streams, console)
    return soak_report(soak, streams, steps)


def _script() -> Script:
    """Short sentences, so that there are many finals."""
    short = [pcm for pcm in (clip.pcm() for clip in bundled()) if len(pcm) < LONGEST_S * RATE_HZ]
    return script(short * TIMES, THRESHOLD_MS + AFTER_MS)


async def _climb(server: Server, played: Script, console: Console) -> list[Step]:
    steps = []
    async for each in climb(server, played, PARAMETERS, THRESHOLD_MS):
        steps.append(each)
        verdict = "kept up" if each.kept_up else each.problem or "did not keep up"
        console.print(f"{each.streams} streams: p95 {each.p95_ms or 0:.0f} ms, {verdict}")
    return steps
