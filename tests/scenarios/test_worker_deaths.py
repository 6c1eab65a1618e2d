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

Mint = Callable[..., RealtimeSessionToken]
Finals = list[dict[str, Any]]

QUERY = "isAckEnabled=true&finalSilenceThresholdInMs=400&encoding=audio/raw;rate=16000"
PAUSE = bytes(16000 * 2)
KILLS = 3


async def stream(server: Served, mint: Mint, peer: Any, audio: bytes, pace_s: float) -> Finals:
    """Every final of a stream of this audio, with its times; nothing else but partials and acks."""
    async with peer(server.ws_url, QUERY) as client:
        await client.authenticate(mint(server))
        reading = asyncio.create_task(_read(client))
        for start in range(0, len(audio), 3200):
            await client.socket.send(audio[start : start + 3200])
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


async def kill_a_worker(server: Served, after_s: float, number: int = signal.SIGKILL) -> None:
    await asyncio.sleep(after_s)
    pids = server.deployment.pool.busy_pids
    os.kill(pids[0], number)


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
    for _ in range(KILLS):
        killing = asyncio.create_task(kill_a_worker(server, 0.1 + random.random() * 0.5))
        assert await stream(server, mint, peer, audio, 0.012) == expected
        await killing
    pool = server.deployment.pool
    async with asyncio.timeout(20):
        while pool.live or psutil.Process().num_fds() > before + pool.limit:
            await asyncio.sleep(0.02)


async def test_a_worker_that_hangs_is_invisible(
    start_server: Callable[..., Served], mint: Mint, peer: Any, speech: bytes
) -> None:
    """It is replaced when it has said nothing for too long."""
    server = start_server(worker_timeout_s=0.5)
    audio = (speech + PAUSE) * 2
    expected = await stream(server, mint, peer, audio, 0.0)
    hanging = asyncio.create_task(kill_a_worker(server, 0.2, signal.SIGSTOP))
    assert await stream(server, mint, peer, audio, 0.01) == expected
    await hanging


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
