"""Streams on a server that is disturbed every 10 s, and what is seen of both."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from random import Random

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from bench.harness import Bar, Report, pss_mb
from bench.instances import WARM_WORKERS, Instance
from stapes.client.profile import Server
from stapes.errors import ClientError, ServerUnreachableError
from stapes.measuring.capacity import Step
from stapes.measuring.delays import delays
from stapes.measuring.playing import Script, play, text_of
from tests.faults.proxy import Fault, Proxy

THRESHOLD_MS = 500
PARAMETERS = {"finalSilenceThresholdInMs": str(THRESHOLD_MS)}
FAULTS = ("cut", "stall", "kill", "fragment")
FAULT_EVERY_S = 10.0
STALL_S = 0.5
"""Without audio for a second a server ends the utterance: the words may then be others."""

LOOK_EVERY_S = 5.0
TELL_EVERY_S = 60.0
MOST_GROWTH = 0.02
MOST_CHANGE = 0.10
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Seen:
    """Memory at a moment, MB; ``all_mb`` is with the workers, and shared pages count once."""

    at_s: float
    server_mb: float
    template_mb: float
    all_mb: float


@dataclass(frozen=True, slots=True)
class Session:
    """When a session began and ended, and how late its finals came after the end of speech."""

    begin_s: float
    end_s: float
    late_ms: tuple[float, ...]

    @property
    def middle_s(self) -> float:
        """Which span it counts for."""
        return (self.begin_s + self.end_s) / 2


@dataclass
class Soak:
    """The streams, and what is seen of them.

    Attributes:
        at: the server as the streams reach it, by ``way``.
        expected: the words of ``played``.
        seconds: how long it lasts from when every stream has begun.
    """

    server: Instance
    at: Server
    way: Proxy
    played: Script
    expected: str
    seconds: float
    seed: int
    sessions: list[Session] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unreached: int = 0
    missed: int = 0

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._begin = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since every stream had begun; negative before."""
        return time.monotonic() - self._begin

    async def run(self, streams: int, console: Console) -> None:
        """Play that many streams at a time until the time is over."""
        length_s = len(self.played.pcm) / 16_000
        self._begin = time.monotonic() + length_s
        beside = [self._disturb(), self._look(), self._tell(console)]
        tasks = [asyncio.create_task(work) for work in beside]
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(streams):
                    group.create_task(self._stream(number * length_s / streams))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _stream(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while self.elapsed_s < self.seconds:
            begin_s = self.elapsed_s
            try:
                shown = await play(self.at, self.played.pcm, PARAMETERS)
            except ServerUnreachableError:  # cut before it had begun: nothing was said
                self.unreached += 1
                continue
            except ClientError as error:
                self.wrong.append(f"{self._span(begin_s)}: {error}")
                continue
            found = delays(self.played, shown, THRESHOLD_MS)
            late_ms = tuple(late + THRESHOLD_MS for late in found.final_ms)
            self.sessions.append(Session(begin_s, self.elapsed_s, late_ms))
            self.missed += found.missed
            if (text := text_of(shown)) != self.expected:
                differing = _differing(self.expected.split(), text.split())
                self.wrong.append(f"{self._span(begin_s)}: {differing}")

    def _span(self, begin_s: float) -> str:
        return f"session of {begin_s:.1f} to {self.elapsed_s:.1f} s"

    async def _disturb(self) -> None:
        """One fault after another, each kind as often as the others."""
        await asyncio.sleep(-self.elapsed_s)
        for number in range(int(self.seconds / FAULT_EVERY_S)):
            kind = FAULTS[number % len(FAULTS)]
            getattr(self, f"_{kind}")()
            self.faults[kind] += 1
            await asyncio.sleep((number + 1) * FAULT_EVERY_S - self.elapsed_s)

    def _cut(self) -> None:
        """A connection is reset: each stream has its turn."""
        self.way.cut_oldest()

    def _stall(self) -> None:
        """The next connection stalls somewhere, in one direction or the other."""
        at_byte = self._random.randrange(self.played.pcm.nbytes)
        self.way.faults.append(Fault("delay", at_byte, delay_s=STALL_S))

    def _fragment(self) -> None:
        """The next connection comes to the server in pieces."""
        self.way.faults.append(Fault("fragment"))

    def _kill(self) -> None:
        """A worker that has been forked before those that wait, so that it hears a stream."""
        workers = sorted(self.server.workers(), key=psutil.Process.create_time)
        with suppress(psutil.NoSuchProcess, IndexError):
            self._random.choice(workers[:-WARM_WORKERS] or workers).kill()

    async def _look(self) -> None:
        await asyncio.sleep(-self.elapsed_s)
        while True:
            process = self.server.process
            with suppress(psutil.NoSuchProcess, OSError):
                template_mb = sum(each.memory_info().rss for each in process.children()) / MEGABYTE
                server_mb = process.memory_info().rss / MEGABYTE
                all_mb = pss_mb(process.pid)
                self.seen.append(Seen(self.elapsed_s, server_mb, template_mb, all_mb))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell(self, console: Console) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            finals = self.late_ms(self.elapsed_s - 2 * TELL_EVERY_S, self.elapsed_s)
            server_mb = self.seen[-1].server_mb if self.seen else 0.0
            console.print(
                f"{self.elapsed_s / 60:.1f} min: {len(self.sessions)} sessions, "
                f"{sum(self.faults.values())} faults, p95 of the last {len(finals)} finals "
                f"{p95(finals):.0f} ms, server {server_mb:.1f} MB",
                soft_wrap=True,
            )
            for each in self.wrong[-3:]:
                console.print(each, markup=False, highlight=False, soft_wrap=True)

    def late_ms(self, after_s: float, before_s: float) -> list[float]:
        """How late the finals came of the sessions whose middle lies there."""
        found = [each for each in self.sessions if after_s <= each.middle_s < before_s]
        return [late for each in found for late in each.late_ms]

    def memory(self, after_s: float, before_s: float) -> Seen:
        """What was seen there, in the middle."""
        found = [each for each in self.seen if after_s <= each.at_s < before_s]
        names = ("at_s", "server_mb", "template_mb", "all_mb")
        return Seen(*(statistics.median(getattr(each, name) for each in found) for name in names))


def _differing(expected: list[str], heard: list[str]) -> str:
    """Where the words part."""
    changes = SequenceMatcher(None, expected, heard, autojunk=False).get_opcodes()
    return "; ".join(
        f"{' '.join(heard[b1:b2])!r} in place of {' '.join(expected[a1:a2])!r} at word {a1 + 1}"
        for change, a1, a2, b1, b2 in changes
        if change != "equal"
    )


def p95(values: Sequence[float]) -> float:
    """The 95th percentile; 0 when there is nothing."""
    return float(np.percentile(values, 95)) if values else 0.0


def soak_report(soak: Soak, streams: int, steps: Sequence[Step]) -> Report:
    """The begin beside the end."""
    seconds = soak.seconds
    warm = soak.memory(seconds / 10, seconds / 10 + seconds / 30)
    last = soak.memory(seconds * 29 / 30, seconds)
    spans = (soak.late_ms(0, seconds / 6), soak.late_ms(seconds * 5 / 6, seconds))
    first_ms, last_ms = (p95(values) for values in spans)
    growth = {
        name: getattr(last, name) / getattr(warm, name) - 1
        for name in ("server_mb", "template_mb", "all_mb")
    }
    figures = {
        "streams": streams,
        "capacity": [
            {"streams": each.streams, "kept_up": each.kept_up, "p95_ms": each.p95_ms}
            for each in steps
        ],
        "sessions": len(soak.sessions),
        "not_begun": soak.unreached,
        "faults": dict(soak.faults),
        "wrong": soak.wrong,
        "clips_without_final": soak.missed,
        "growth": growth,
        "memory_mb": [
            [round(value, 1) for value in (it.at_s, it.server_mb, it.template_mb, it.all_mb)]
            for it in soak.seen
        ],
        "finals": [len(values) for values in spans],
        "p95_ms": [first_ms, last_ms],
        "p50_ms": [float(np.median(values)) for values in spans],
        "p95_beyond_threshold_ms": [first_ms - THRESHOLD_MS, last_ms - THRESHOLD_MS],
    }
    bars = [
        Bar.at_most("memory of the server, growth", growth["server_mb"], MOST_GROWTH),
        Bar.at_most("memory of the template, growth", growth["template_mb"], MOST_GROWTH),
        Bar.at_most("p95 of finals, last over first", last_ms / first_ms - 1, MOST_CHANGE),
        Bar.at_most("sessions failed or with other words", len(soak.wrong), 0),
    ]
    for each in soak.wrong:
        print(each)
    return Report("soak", figures, bars, _table(soak, warm, last, spans))


def _table(
    soak: Soak, warm: Seen, last: Seen, spans: tuple[Sequence[float], Sequence[float]]
) -> Table:
    faults = ", ".join(f"{count} {kind}" for kind, count in soak.faults.items())
    title = f"{len(soak.sessions)} sessions; {faults}"
    table = Table("", "begin", "end", title=title)
    for name, memory in (("server", "server_mb"), ("template", "template_mb"), ("all", "all_mb")):
        shown = (f"{getattr(each, memory):.1f}" for each in (warm, last))
        table.add_row(f"{name}, MB", *shown)
    table.add_row("finals", *(str(len(values)) for values in spans))
    for share in (50, 95):
        shown = (f"{np.percentile(values, share):.0f}" for values in spans)
        table.add_row(f"p{share} of finals after speech, ms", *shown)
    return table
