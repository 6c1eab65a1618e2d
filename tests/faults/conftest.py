"""Servers, sessions and what they leave behind."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import wave
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import pytest

import stapes
from stapes import Final, Reconnect, samples
from stapes.client.profile import read_profile
from stapes.store.sql import SqlStore
from tests.conftest import Served, running_server
from tests.scenarios import conftest as scenarios
from tests.waiting import PATIENCE_S

mint = scenarios.mint
_peer = scenarios._peer

PARAMETERS = {"finalSilenceThresholdInMs": "500"}
PATIENT = Reconnect(first_s=0.02, longest_s=0.2, give_up_s=PATIENCE_S)
CHUNK_BYTES = 6_400
POOLED, MORE = 5, 12
"""Connections to the database that SQLAlchemy keeps; and those at most that it, or a test, opens
beside them. SQLite closes no file while another connection of the process holds a lock on it, but
uses it again."""

SETTLING_S = 10
LONGEST_S = 2 * PATIENCE_S
"""No fault may hold a session up for longer."""

SHORT_PINGS: dict[str, Any] = {"ping_interval_s": 0.4, "ping_timeout_s": 1.5}
MOST_MORE_MB = 24
"""An allocator's slack; what leaks a stream's audio or results in every test goes beyond."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process and its children hold."""

    descriptors: int
    processes: int
    server_tasks: int
    resident_mb: float


def held(server: Served) -> Held:
    """What this process holds, the server's thread included."""
    here = psutil.Process()
    return Held(
        here.num_fds(),
        len(here.children(recursive=True)),
        len(asyncio.all_tasks(server.loop)),
        here.memory_info().rss / 1e6,
    )


def says(audio: bytes, server: Served, url: str | None = None) -> list[Final]:
    """The finals of a session of its own, in an event loop of its own."""
    return asyncio.run(bounded(heard(audio, server, url or server.url)))


def warm(audio: bytes, server: Served) -> None:
    """Have it open what it keeps: threads, workers, every connection to its database."""
    asyncio.run(_talk(audio, server))
    store = server.deployment.store
    assert isinstance(store, SqlStore)
    with ExitStack() as stack:
        for _ in range(POOLED):
            stack.enter_context(store._reading())
        for _ in range(MORE):
            connection = sqlite3.connect(server.home.path / "stapes.db")
            stack.enter_context(closing(connection)).execute("SELECT 1 FROM servers").fetchone()


async def _talk(audio: bytes, server: Served) -> None:
    for _ in range(2):
        await asyncio.gather(*(bounded(heard(audio, server, server.url)) for _ in range(16)))


async def bounded(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(LONGEST_S):
        return await work


async def heard(
    audio: bytes,
    server: Served,
    url: str | list[str],
    half_way: Callable[[], Awaitable[object]] | None = None,
) -> list[Final]:
    """The finals of a session that is fed as fast as it goes, but for a stop half-way."""
    profile = read_profile(server.home.config_file)
    async with stapes.connect(
        url, profile=profile, parameters=PARAMETERS, reconnect=PATIENT
    ) as session:
        for at in range(0, len(audio), CHUNK_BYTES):
            await session.send(audio[at : at + CHUNK_BYTES])
            await session.drain()
            if half_way and at <= len(audio) // 2 < at + CHUNK_BYTES:
                await half_way()
        await session.finish()
    return list(session.finals)


@pytest.fixture(scope="session")
def demo() -> bytes:
    """Bundled speech of some twelve seconds with pauses, 16 kHz s16le."""
    with wave.open(str(samples.load("demo").path)) as file:
        frames: bytes = file.readframes(file.getnframes())
        return frames


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, demo: bytes) -> Iterator[Served]:
    """A warmed server whose peers are known to be gone soon."""
    home = tmp_path_factory.mktemp("faulty") / "home"
    with running_server(home, **SHORT_PINGS) as server:
        warm(demo, server)
        yield server


@pytest.fixture(scope="module")
def expected(faulty: Served, demo: bytes) -> list[Final]:
    """What is heard when nothing happens."""
    finals = says(demo, faulty)
    assert len(finals) > 2
    return finals


@pytest.fixture
def left_clean(faulty: Served) -> Iterator[Callable[[], Held]]:
    """After the test the server holds what it held before: tasks, descriptors, processes, memory.

    Streams end in their own time, and it is given some.
    """
    deadline = time.monotonic() + SETTLING_S
    while not is_settled(faulty) and time.monotonic() < deadline:
        time.sleep(0.05)
    before = held(faulty)
    yield partial(held, faulty)
    deadline = time.monotonic() + PATIENCE_S
    while (
        leaks(before, held(faulty)) or len(faulty.deployment.live)
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert leaks(before, held(faulty)) == []
    assert len(faulty.deployment.live) == 0


def is_settled(server: Served) -> bool:
    """Whether no stream is left of the test before, and every worker that it took is replaced."""
    pools = server.deployment.pool._pools.values()
    return not len(server.deployment.live) and all(
        len(pool._idle) >= min(pool._warm, pool.limit) for pool in pools
    )


def leaks(before: Held, after: Held) -> list[str]:
    """What there is more of, by name."""
    return [
        f"{name}: {getattr(before, name)} before, {getattr(after, name)} after"
        for name, slack in (
            ("descriptors", 0),
            ("processes", 0),
            ("server_tasks", 0),
            ("resident_mb", MOST_MORE_MB),
        )
        if getattr(after, name) > getattr(before, name) + slack
    ]
