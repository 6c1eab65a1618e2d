"""A client that does not read: little of the server's memory, and no final lost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psutil

from stapes import RealtimeSessionToken
from stapes.errors import SlowReaderError
from tests.conftest import Served
from tests.faults.conftest import bounded

FRAME = 64
MOST_MORE_BYTES = 32_000_000
TOLD = (SlowReaderError.status, SlowReaderError.close_code)


def narrow(url: str) -> socket.socket:
    """A connection that holds little of what is not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    place = urlsplit(url)
    made.connect((place.hostname, place.port))
    return made


async def test_a_client_that_does_not_read_is_told_and_loses_nothing(
    start_server: Callable[..., Served],
    peer: Any,
    mint: Callable[..., RealtimeSessionToken],
    demo: bytes,
) -> None:
    """It is read no further; what it said is in the store; ERROR 408 and 1008 wait for it."""
    server = start_server(send_timeout_s=1.0)
    token = mint(server)
    query = "finalSilenceThresholdInMs=500&isAckEnabled=true"
    before = psutil.Process().memory_info().rss
    async with peer(server.ws_url, query, sock=narrow(server.url), max_queue=1) as deaf:
        await deaf.authenticate(token)
        sending = asyncio.create_task(deaf.send_audio(demo * 8, FRAME))
        await bounded(_until_closed(server, token.session_id))
        assert psutil.Process().memory_info().rss - before < MOST_MORE_BYTES
        assert await bounded(deaf.read_to_close()) == TOLD
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    told = [it["transcriptions"][0] for it in deaf.messages if it["event"] == "RESULT"]
    told_finals = [it["transcription"] for it in told if it["isFinal"]]
    kept = [final.text for final in server.deployment.store.finals(token.session_id)]
    assert kept[: len(told_finals)] == told_finals
    (stream,) = server.deployment.store.streams(session_id=token.session_id)
    taken = [it["details"] for it in deaf.messages if it["event"] == "ACKAUDIO"]
    assert stream.audio_ms * 32 >= taken[-1]["offset"]
    async with peer(server.ws_url, query) as whole:
        await whole.authenticate(mint(server))
        reading = asyncio.create_task(whole.hear((demo * 8)[: stream.audio_ms * 32]))
        assert " ".join(kept) == await bounded(reading)


async def _until_closed(server: Served, session_id: str) -> None:
    while True:
        found = await asyncio.to_thread(server.deployment.store.streams, session_id=session_id)
        if found and found[0].closed_at is not None:
            return
        await asyncio.sleep(0.05)
