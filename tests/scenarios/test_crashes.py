"""A server that is killed at the worst moment, and another one of the same database after it."""

from __future__ import annotations

import asyncio
import sqlite3
import wave
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

import stapes
from bench.instances import Instance, instances
from stapes import Final, Reconnect, samples
from stapes.client.profile import Profile

PATIENT = Reconnect(first_s=0.02, longest_s=0.2, give_up_s=60)
PARAMETERS = {"finalSilenceThresholdInMs": "500", "isAckEnabled": "true"}
LONGEST_S = 150
CHUNK_BYTES = 6_400
BYTES_PER_S = 32_000

Running = tuple[Instance, Profile]


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture(scope="module", params=["scripted", "pocketsphinx"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server in a process of its own, which can be killed and started again."""
    settings = {"STAPES_ENGINE": request.param, "STAPES_STREAMS": "2"}
    with instances(1, settings) as ((server,), profile):
        yield server, profile


@pytest.fixture(scope="module")
def spoken() -> bytes:
    """Bundled speech of some twelve seconds with pauses, 16 kHz s16le."""
    with wave.open(str(samples.load("demo").path)) as file:
        frames: bytes = file.readframes(file.getnframes())
        return frames


class Said:
    """A session that says something, on servers that are killed as soon as they answer."""

    def __init__(self, running: Running, *, kills: bool) -> None:
        self.server, self.profile = running
        self.kills = kills
        self.reconnects = 0

    async def hear(self, pieces: Sequence[bytes]) -> list[Final]:
        """The finals of pieces of audio, with a request for a final behind each of them."""
        async with (
            asyncio.timeout(LONGEST_S),
            stapes.connect(
                self.server.url,
                profile=self.profile,
                parameters=PARAMETERS,
                reconnect=PATIENT,
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._kill_at_each_final(session))
            for piece in pieces:
                for at in range(0, len(piece), CHUNK_BYTES):
                    await session.send(piece[at : at + CHUNK_BYTES])
                    await session.drain()
                await session.finalize()
            await session.close()
        self.reconnects = session.reconnects
        return list(session.finals)

    async def _kill_at_each_final(self, session: stapes.Session) -> None:
        async for result in session:
            if self.kills and isinstance(result, Final):
                self.server.kill()
                await asyncio.to_thread(self.server.start)


async def test_a_final_that_was_told_is_never_told_otherwise(
    running: Running, spoken: bytes
) -> None:
    """Killed at the receipt of each: the finals are those of a server that lives, to the ms."""
    cuts = [0, 71_234, 139_500, 263_000, len(spoken)]
    pieces = [spoken[start:end] for start, end in pairwise(cuts)]
    expected = await Said(running, kills=False).hear(pieces)
    killing = Said(running, kills=True)
    assert await killing.hear(pieces) == expected
    assert len(expected) >= 4
    assert killing.reconnects >= 3


async def test_a_long_silence_needs_not_be_heard_again(running: Running, spoken: bytes) -> None:
    """A client that keeps less than it goes on behind it, on another server."""
    silence = bytes(60 * BYTES_PER_S)
    whole = spoken[:100_000] + silence + spoken[100_000:]
    expected = await Said(running, kills=False).hear([whole])

    server, profile = running
    async with (
        asyncio.timeout(LONGEST_S),
        stapes.connect(
            server.url,
            profile=profile,
            parameters=PARAMETERS,
            reconnect=PATIENT,
            buffer_s=80,  # half of it while the server is there
        ) as session,
    ):
        killed_at = 100_000 + len(silence) - CHUNK_BYTES
        for at in range(0, len(whole), CHUNK_BYTES):
            if at <= killed_at < at + CHUNK_BYTES:
                server.kill()
                await asyncio.to_thread(server.start)
            await session.send(whole[at : at + CHUNK_BYTES])
            await session.drain()
        await session.finish()
    assert session.reconnects >= 1
    assert list(session.finals) == expected


async def first_finals(session: stapes.Session, count: int) -> AsyncIterator[Final]:
    while count:
        result = await session.next_result()
        if isinstance(result, Final):
            yield result
            count -= 1


async def test_a_final_that_was_told_and_not_stored_is_heard_again(
    running: Running, spoken: bytes
) -> None:
    """The database takes nothing when the server is killed: the next one hears it as it was."""
    whole = spoken + bytes(BYTES_PER_S)
    expected = await Said(running, kills=False).hear([whole])
    assert len(expected) >= 3

    server, profile = running
    database = profile.key_file.parent.parent / "stapes.db"
    async with (
        asyncio.timeout(LONGEST_S),
        stapes.connect(
            server.url, profile=profile, parameters=PARAMETERS, reconnect=PATIENT
        ) as session,
    ):
        second = expected[1]
        through = (second.end_ms + second.trailing_silence_ms) * BYTES_PER_S // 1000
        with locked(database):
            for at in range(0, through, CHUNK_BYTES):
                await session.send(whole[at : at + CHUNK_BYTES])
                await session.drain()
            told = [result async for result in first_finals(session, 2)]
            server.kill()
        assert told == expected[:2]
        await asyncio.to_thread(server.start)
        sent = -(-through // CHUNK_BYTES) * CHUNK_BYTES
        for at in range(sent, len(whole), CHUNK_BYTES):
            await session.send(whole[at : at + CHUNK_BYTES])
            await session.drain()
        await session.finish()
    assert session.reconnects == 1
    assert list(session.finals) == expected
