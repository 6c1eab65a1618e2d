"""Workers that die under a stream: the peer sees a pause, and the same words at the same times."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from random import Random
from typing import Any

import psutil
import pytest

from stapes import RealtimeSessionToken
from stapes.engines.scripted import POISON
from tests.conftest import Served
from tests.waiting import until

Mint = Callable[..., RealtimeSessionToken]
Finals = list[dict[str, Any]]

QUERY = "isAckEnabled=true&finalSilenceThresholdInMs=400&encoding=audio/raw;rate=16000"
PAUSE = bytes(16000 * 2)
KILLS = 3
CHUNK_BYTES = 3200


async def stream(
    server: Served,
    mint: Mint,
    peer: Any,
    audio: bytes,
    pace_s: float,
    strike: Callable[[int], None] = lambda _: None,
) -> Finals:
    """Every final of a stream of this audio, with its times; nothing else but partials and acks.

    ``strike`` is called after each chunk with its number.
    """
    async with peer(server.ws_url, QUERY) as client:
        await client.authenticate(mint(server))
        reading = asyncio.create_task(_read(client))
        for number, start in enumerate(range(0, len(audio), CHUNK_BYTES)):
            await client.socket.send(audio[start : start + CHUNK_BYTES])
            strike(number)
            await asyncio.sleep(pace_s)
        for _ in range(2):
            await client.send_json(event="SEND_FINAL_RESULT")
        return await reading


async def _read(client: Any) -> Finals:
    finals: Finals = []
    while True:
        final = await client.read_final()
        if not final["transcription"]:
            return finals
        finals.append(final)


def killing(server: Served, at: int, number: int = signal.SIGKILL) -> Callable[[int], None]:
    """Strikes the one busy worker after a chunk."""

    def strike(chunk: int) -> None:
        if chunk == at:
            (pid,) = server.deployment.pool.busy_pids
            os.kill(pid, number)

    return strike


@pytest.mark.parametrize("engine", ["scripted", "pocketsphinx"])
async def test_a_killed_worker_is_invisible(
    start_server: Callable[..., Served], mint: Mint, peer: Any, speech: bytes, engine: str
) -> None:
    """Finals, times and confidences are those of an undisturbed stream, and nothing is left."""
    server = start_server(engine=engine, streams=4)
    audio = (speech + PAUSE) * 2
    expected = await stream(server, mint, peer, audio, 0.0)
    assert len(expected) >= 2
    before = psutil.Process().num_fds()
    random = Random(7)
    pool = server.deployment.pool
    for _ in range(KILLS):
        strike = killing(server, random.randrange(len(audio) // CHUNK_BYTES))
        assert await stream(server, mint, peer, audio, 0.012, strike) == expected
        await until(lambda: not pool.live)
    await until(lambda: psutil.Process().num_fds() <= before + pool.limit)


async def test_a_worker_that_hangs_is_invisible(
    start_server: Callable[..., Served], mint: Mint, peer: Any, speech: bytes
) -> None:
    """It is replaced when it has said nothing for too long."""
    server = start_server(worker_timeout_s=2)
    audio = (speech + PAUSE) * 2
    expected = await stream(server, mint, peer, audio, 0.0)
    strike = killing(server, 20, signal.SIGSTOP)
    assert await stream(server, mint, peer, audio, 0.01, strike) == expected


async def test_a_stream_that_kills_its_workers_is_ended(
    start_server: Callable[..., Served], mint: Mint, peer: Any, speech: bytes
) -> None:
    """With 500 and 1011 after the second; one in the same process hears all its words."""
    server = start_server()
    audio = (speech + PAUSE) * 2
    expected = await stream(server, mint, peer, audio, 0.0)
    other = asyncio.create_task(stream(server, mint, peer, audio, 0.01))
    async with peer(server.ws_url, QUERY) as client:
        await client.authenticate(mint(server))
        at = 48000
        await client.send_audio(speech[:at] + POISON * 2 + speech[at:])
        assert await client.read_to_close() == (500, 1011)
    assert await other == expected
