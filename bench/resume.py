"""Whether sessions that are cut hear every word once, at its time: 1,000 of 1,000.

``scripts/bench resume [--sessions N] [--pocketsphinx N] [--manifest FILE] [--clips N] [--kinds
LIST] [--seed N] [--json]``. Two servers on one database. Each session plays a bundled sample, or a
clip of the manifest, of which ``--clips N`` takes at most N of each set, faster than real time, and
is cut one to five times at random bytes: its socket is reset, its worker or its server is killed
with SIGKILL (and started again at the same port), or its server drains and it moves to the other
one. Its finals have to equal those of a session that nothing happens to, word for word and time for
time.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import stapes
from bench.both_ways import chosen_clips
from bench.harness import Bar, Report
from bench.instances import Instance, instances
from stapes.client.profile import Profile
from stapes.client.results import Final
from stapes.errors import ServerRefusedError, ServerUnreachableError, StapesError
from tests.faults.proxy import Fault, proxy

KINDS = ("cut", "worker", "crash", "drain")
MOST_CUTS = 5
PARAMETERS = {"finalSilenceThresholdInMs": "500"}
PATIENT = stapes.Reconnect(first_s=0.05, longest_s=1.0, give_up_s=90)
LONGEST_S = 180
CHUNK_BYTES = 12_800
BYTES_PER_S = 32_000
SPEED = {"scripted": 6.0, "pocketsphinx": 3.0}
AT_ONCE = {"scripted": 25, "pocketsphinx": 6}
SETTINGS = {"STAPES_STREAMS": "400", "STAPES_DRAIN_WINDOW_S": "2"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One session: which sample, at which server it begins, and where its socket is cut."""

    number: int
    clip: int
    first: int
    cut_at: tuple[int, ...]


@dataclass(slots=True)
class Found:
    """What became of the sessions of one engine."""

    equal: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0
    differing: list[str] = field(default_factory=list)


class Round:
    """Sessions that run at once, and what happens to the servers meanwhile."""

    def __init__(
        self, servers: list[Instance], profile: Profile, clips: list[bytes], speed: float
    ) -> None:
        self.servers = servers
        self.profile = profile
        self.clips = clips
        self.speed = speed
        self.expected: list[list[Final]] = []

    async def prepare(self) -> None:
        """Hear every sample with nothing happening, twice: it has to be the same."""
        for clip in range(len(self.clips)):
            plans = [Plan(0, clip, first, ()) for first in range(len(self.servers))]
            heard = await asyncio.gather(*(self.hear(plan, Found()) for plan in plans))
            assert heard[0], "nothing was heard"
            assert heard[0] == heard[1], "two uninterrupted sessions differ"
            self.expected.append(heard[0])

    async def run(self, plans: Sequence[Plan], kind: str, random: Random, found: Found) -> None:
        """Play the sessions, and once let ``kind`` happen to a server that has some."""
        longest_s = max(len(self.clips[plan.clip]) for plan in plans) / BYTES_PER_S / self.speed
        async with asyncio.TaskGroup() as group:
            disturbed = group.create_task(
                self._disturb(kind, random.uniform(0.1, 0.8) * longest_s, random, found)
            )
            for plan in plans:
                group.create_task(self._check(plan, found, f"{kind}, round of {plans[0].number}"))
        await disturbed

    async def _check(self, plan: Plan, found: Found, what: str) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                heard = await self.hear(plan, found)
        except (StapesError, TimeoutError) as error:
            found.differing.append(f"{plan} ({what}): {error!r}")
            return
        expected = self.expected[plan.clip]
        if heard == expected:
            found.equal += 1
        else:
            found.differing.append(f"{plan} ({what}): {_difference(expected, heard)}")

    async def hear(self, plan: Plan, found: Found) -> list[Final]:
        """The finals of one session."""
        audio = self.clips[plan.clip]
        faults = deque(Fault("cut", at) for at in plan.cut_at)
        async with AsyncExitStack() as stack:
            ways = [await stack.enter_async_context(proxy(it.url)) for it in self.servers]
            for way in ways:
                way.faults = faults  # type: ignore[assignment]
            urls = [way.url for way in ways]
            urls = urls[plan.first :] + urls[: plan.first]
            session = await self._open(urls, stack)
            begin = time.monotonic()
            for at in range(0, len(audio), CHUNK_BYTES):
                await session.send(audio[at : at + CHUNK_BYTES])
                due = begin + at / BYTES_PER_S / self.speed
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await session.finish()
            found.reconnects += session.reconnects
            found.cuts["cut"] += sum(len(way.happened) for way in ways)
            return list(session.finals)

    async def _open(self, urls: list[str], stack: AsyncExitStack) -> stapes.Session:
        """Begin, as often as it takes: nothing has been said that could be lost."""
        while True:
            opening = stapes.connect(
                urls, profile=self.profile, parameters=PARAMETERS, reconnect=PATIENT
            )
            try:
                return await stack.enter_async_context(opening)
            except (ServerUnreachableError, ServerRefusedError):
                await asyncio.sleep(0.1)

    async def _disturb(self, kind: str, wait_s: float, random: Random, found: Found) -> None:
        await asyncio.sleep(wait_s)
        server = random.choice(self.servers)
        if kind == "cut":
            return
        if kind == "worker":
            with suppress(psutil.NoSuchProcess):
                random.choice(server.workers()).kill()
        elif kind == "crash":
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        else:
            await asyncio.to_thread(server.drain)
            await asyncio.to_thread(server.start)
        found.cuts[kind] += 1


def run(arguments: Sequence[str]) -> Report:
    """Play the sessions of each engine in rounds."""
    parser = argparse.ArgumentParser("scripts/bench resume", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000, help="sessions in all")
    parser.add_argument("--pocketsphinx", type=int, default=100, help="of them, with PocketSphinx")
    parser.add_argument("--manifest", type=Path, help="clips with their texts, JSON lines")
    parser.add_argument("--clips", type=int, help="at most this many clips of each set")
    parser.add_argument("--kinds", default=",".join(KINDS), help="faults, separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random")
    asked = parser.parse_args(arguments)
    kinds = asked.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    clips = [clip.pcm().tobytes() for clip in chosen_clips(asked)]
    counts = {"scripted": asked.sessions - asked.pocketsphinx, "pocketsphinx": asked.pocketsphinx}
    found = {
        engine: asyncio.run(_hear_all(engine, count, clips, kinds, Random(asked.seed)))
        for engine, count in counts.items()
        if count > 0
    }
    return _report(asked.sessions, kinds, found)


async def _hear_all(
    engine: str, count: int, clips: list[bytes], kinds: list[str], random: Random
) -> Found:
    found = Found()
    with instances(2, {**SETTINGS, "STAPES_ENGINE": engine}) as (servers, profile):
        playing = Round(servers, profile, clips, SPEED[engine])
        await playing.prepare()
        plans = [_plan(number, clips, len(kinds) > 1, random) for number in range(count)]
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(engine, total=count)
            for at in range(0, count, AT_ONCE[engine]):
                kind = kinds[at // AT_ONCE[engine] % len(kinds)]
                batch = plans[at : at + AT_ONCE[engine]]
                await playing.run(batch, kind, random, found)
                progress.advance(task, len(batch))
                for each in found.differing:
                    progress.console.print(each, markup=False, highlight=False)
    return found


def _plan(number: int, clips: list[bytes], is_disturbed: bool, random: Random) -> Plan:
    """One to five cuts in all: one of them may be what happens to the server."""
    clip = random.randrange(len(clips))
    count = random.randint(1, MOST_CUTS - is_disturbed)
    places = sorted(random.sample(range(len(clips[clip])), count))
    # Each socket counts from its own begin.
    cut_at = (at - before for before, at in zip([0, *places], places, strict=False))
    return Plan(number, clip, random.randrange(2), tuple(cut_at))


def _difference(expected: list[Final], heard: list[Final]) -> str:
    for at, (should, got) in enumerate(zip(expected, heard, strict=False)):
        if should != got:
            return f"final {at + 1} is {got}, and should be {should}"
    return f"{len(heard)} finals, and should be {len(expected)}: {[it.text for it in heard]}"


def _report(sessions: int, kinds: list[str], found: dict[str, Found]) -> Report:
    table = Table("engine", "sessions", "equal", "sockets cut", "server faults", "reconnects")
    figures: dict[str, Any] = {"kinds": kinds}
    for engine, each in found.items():
        count = each.equal + len(each.differing)
        others = {kind: times for kind, times in each.cuts.items() if kind != "cut"}
        cells = (count, each.equal, each.cuts["cut"], others, each.reconnects)
        table.add_row(engine, *map(str, cells))
        figures[engine] = {
            "sessions": count,
            "equal": each.equal,
            "cuts": dict(each.cuts),
            "reconnects": each.reconnects,
            "differing": each.differing,
        }
    equal = sum(each.equal for each in found.values())
    return Report("resume", figures, [Bar.at_least("sessions equal", equal, sessions)], table)
