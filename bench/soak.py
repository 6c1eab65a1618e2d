"""Whether a server stays as it is under load and faults: its memory, and how late finals come.

``scripts/bench soak [--minutes N] [--streams N] [--engine NAME] [--json]``. Streams play bundled
samples as spoken, one session after another; every 10 s something happens: sockets are reset, or a
worker is killed. Resident memory may grow by 2 % from the end of the first tenth to the end, and
the p95 delay of finals in the last sixth may differ by 10 % from the first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import psutil
from rich.table import Table

import stapes
from bench.harness import Bar, Report
from bench.instances import Instance, instances
from stapes.client.profile import Profile
from stapes.errors import ServerUnreachableError, StapesError
from stapes.measuring.clips import bundled
from tests.faults.proxy import Proxy, proxy

FAULT_EVERY_S = 10.0
THRESHOLD_MS = 500
CHUNK_BYTES = 6_400
BYTES_PER_S = 32_000
LOAD = 0.8
MOST_GROWTH = 0.02
MOST_CHANGE = 0.10


class Soak:
    """The streams, and what is measured of them."""

    def __init__(self, server: Instance, profile: Profile, way: Proxy, seconds: float) -> None:
        self.server = server
        self.profile = profile
        self.way = way
        self.begin = time.monotonic()
        self.seconds = seconds
        self.delays: list[tuple[float, float]] = []
        self.resident: list[tuple[float, int]] = []
        self.failed: list[str] = []
        self.faults = 0
        self.sessions = 0
        self._random = Random(1)
        self._clips = [clip.pcm().tobytes() for clip in bundled()]

    @property
    def elapsed_s(self) -> float:
        """Since the begin."""
        return time.monotonic() - self.begin

    async def run(self, streams: int) -> None:
        """Play that many streams at a time until the time is over."""
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(self._stream())
            group.create_task(self._disturb())

    async def _stream(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 10))
        while self.elapsed_s < self.seconds:
            try:
                await self._session(self._random.choice(self._clips))
                self.sessions += 1
            except ServerUnreachableError:  # cut before it had begun: nothing was said
                continue
            except StapesError as error:
                self.failed.append(f"at {self.elapsed_s:.0f} s: {error}")

    async def _session(self, audio: bytes) -> None:
        parameters = {"finalSilenceThresholdInMs": str(THRESHOLD_MS)}
        async with stapes.connect(
            self.way.url, profile=self.profile, parameters=parameters
        ) as session:
            begin = time.monotonic()
            listening = asyncio.create_task(self._listen(session, begin))
            for at in range(0, len(audio), CHUNK_BYTES):
                await session.send(audio[at : at + CHUNK_BYTES])
                due = begin + (at + CHUNK_BYTES) / BYTES_PER_S
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await session.finish()
            await listening

    async def _listen(self, session: stapes.Session, begin: float) -> None:
        """Note how late each final is that a threshold of silence ended."""
        async for result in session:
            through_ms = result.end_ms + result.trailing_silence_ms
            if result.is_final and result.trailing_silence_ms >= THRESHOLD_MS // 2:
                late_s = time.monotonic() - begin - through_ms / 1000
                self.delays.append((self.elapsed_s, late_s * 1000))

    async def _disturb(self) -> None:
        while self.elapsed_s < self.seconds:
            await asyncio.sleep(FAULT_EVERY_S)
            self.resident.append((self.elapsed_s, self.server.process.memory_info().rss))
            self.faults += 1
            if self.faults % 2:
                self.way.cut_all()
            else:
                with suppress(psutil.NoSuchProcess, IndexError):
                    self._random.choice(self.server.workers()).kill()


def run(arguments: Sequence[str]) -> Report:
    """Load the server, disturb it, and compare the end with the begin."""
    parser = argparse.ArgumentParser("scripts/bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long")
    parser.add_argument("--streams", type=int, help="default: 80 % of what the engine serves here")
    parser.add_argument("--engine", default="pocketsphinx", help="name of an engine")
    asked = parser.parse_args(arguments)
    real_time_factor = 0.4
    streams = asked.streams or max(1, int(LOAD * (os.cpu_count() or 1) / real_time_factor))
    settings = {"STAPES_ENGINE": asked.engine, "STAPES_STREAMS": str(2 * streams)}
    with instances(1, settings) as (servers, profile):
        soak = asyncio.run(_soak(servers[0], profile, streams, asked.minutes * 60))
    return _report(soak, streams)


async def _soak(server: Instance, profile: Profile, streams: int, seconds: float) -> Soak:
    async with proxy(server.url) as way:
        soak = Soak(server, profile, way, seconds)
        await soak.run(streams)
        return soak


def _report(soak: Soak, streams: int) -> Report:
    warm = [rss for at, rss in soak.resident if at >= soak.seconds / 10]
    growth = warm[-1] / warm[0] - 1
    first = _p95([late for at, late in soak.delays if at < soak.seconds / 6])
    last = _p95([late for at, late in soak.delays if at > soak.seconds * 5 / 6])
    figures = {
        "streams": streams,
        "sessions": soak.sessions,
        "faults": soak.faults,
        "finals": len(soak.delays),
        "resident_mb": [round(rss / 1e6, 1) for _, rss in soak.resident],
        "p95_first_ms": first,
        "p95_last_ms": last,
        "failed": soak.failed,
    }
    table = Table("streams", "sessions", "faults", "resident MB", "p95 first, ms", "p95 last, ms")
    span = f"{warm[0] / 1e6:.1f} to {warm[-1] / 1e6:.1f}"
    cells = (streams, soak.sessions, soak.faults, span, f"{first:.0f}", f"{last:.0f}")
    table.add_row(*map(str, cells))
    bars = [
        Bar.at_most("resident memory, growth", growth, MOST_GROWTH),
        Bar.at_most("p95 of finals, last over first", last / first - 1, MOST_CHANGE),
        Bar.at_most("sessions failed", len(soak.failed), 0),
    ]
    return Report("soak", figures, bars, table)


def _p95(values: list[float]) -> float:
    assert len(values) > 1, "too few finals to compare: run it for longer"
    return statistics.quantiles(values, n=20)[-1]
