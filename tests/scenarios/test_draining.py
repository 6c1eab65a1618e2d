"""A server that is told to stop: nothing new, and everybody gets to an end of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from stapes import RealtimeSessionToken
from tests.waiting import PATIENCE_S, until

Mint = Callable[..., RealtimeSessionToken]
WINDOW_S = 10 * PATIENCE_S


@pytest.fixture
def draining(start_server: Any) -> Any:
    return start_server(drain_window_s=WINDOW_S)


async def stopping(server: Any) -> None:
    """Tell the server to stop, and wait until it has begun to."""
    server.running.stop()
    await until(lambda: server.deployment.draining)


async def ended(server: Any) -> None:
    """Wait until the server has ended, sooner than by itself."""
    await asyncio.to_thread(server.thread.join, PATIENCE_S)
    assert not server.thread.is_alive()


async def test_a_session_goes_on_while_the_server_waits(
    draining: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """A client without the extension has the window to come to its end."""
    async with peer(draining.ws_url) as plain:
        await plain.authenticate(mint(draining))
        await stopping(draining)
        assert await plain.hear(speech)
    await ended(draining)


async def test_a_new_socket_learns_that_the_server_stops(
    draining: Any, mint: Mint, peer: Any
) -> None:
    """503 and 1013, and readiness says so."""
    token = mint(draining)
    async with peer(draining.ws_url) as running:
        await running.authenticate(mint(draining))
        await stopping(draining)
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = await client.get(f"{draining.url}/ready")
        assert ready.status_code == 503
        assert "stopping" in " ".join(ready.json()["reasons"])
        async with peer(draining.ws_url) as late:
            assert await late.read_to_close() == (503, 1013)
    assert token.session_id
    await ended(draining)


async def test_a_client_of_the_extension_is_told_to_go_elsewhere(
    draining: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """It leaves, nothing is finished here, and the server need not wait."""
    token = mint(draining)
    async with peer(draining.ws_url, subprotocols=["stapes.v1"]) as extended:
        await extended.authenticate(token)
        await extended.send_audio(speech)
        await stopping(draining)
        while (message := await extended.read())["event"] != "GOAWAY":
            pass
        assert message["reconnectWithinMs"] == WINDOW_S * 1000
    await ended(draining)
    from stapes.store.sql import open_store

    store = open_store(draining.home.database)
    (stream,) = store.streams(session_id=token.session_id)
    store.close()
    assert stream.reason == "moved"


async def test_nobody_is_sent_away_from_what_is_nowhere_else(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Where nothing is stored no other server could go on: such a stream has the window, too."""
    server = start_server(drain_window_s=WINDOW_S, keep_transcripts_days=0)
    async with peer(server.ws_url, subprotocols=["stapes.v1"]) as extended:
        await extended.authenticate(mint(server))
        await stopping(server)
        assert await extended.hear(speech)
        assert all(it["event"] != "GOAWAY" for it in extended.messages)
    await ended(server)


async def test_whoever_is_left_at_the_end_of_the_window_is_told(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """The last words are recognised and kept, then ERROR 503 and close 1001."""
    server = start_server(drain_window_s=0.5)
    token = mint(server)
    async with peer(server.ws_url) as plain:
        await plain.authenticate(token)
        await plain.send_audio(speech)
        server.running.stop()
        assert await plain.read_to_close() == (503, 1001)
    assert any(it["event"] == "RESULT" for it in plain.messages)
    await asyncio.to_thread(server.stop)
