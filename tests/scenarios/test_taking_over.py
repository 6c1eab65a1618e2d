"""Streams that go on, as their server or another one of the same database has them stored."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import quote

import pytest

from stapes import RealtimeSessionToken
from stapes.protocol.events import Moved
from stapes.store import writer as writer_module
from stapes.store.port import StreamSummary
from tests.conftest import Served
from tests.waiting import PATIENCE_S, until

QUERY = "finalSilenceThresholdInMs=500"

Mint = Callable[..., RealtimeSessionToken]
Start = Callable[..., Served]


def resume(session_id: str, last_result: int, query: str = QUERY) -> str:
    return f"{query}&resume={quote(session_id)}&lastResult={last_result}"


@pytest.fixture
def extended(peer: Any) -> Any:
    """A bare connection that asks for the extension."""

    @asynccontextmanager
    async def open_(server: Served, query: str = QUERY) -> Any:
        async with peer(server.ws_url, query, subprotocols=["stapes.v1"]) as opened:
            yield opened

    return open_


async def say(peer: Any, token: RealtimeSessionToken, speech: bytes) -> None:
    """Have a final, then break the connection without a word."""
    assert (await peer.authenticate(token))["event"] == "CONNECT"
    await peer.send_audio(speech)
    await peer.send_json(event="SEND_FINAL_RESULT")
    while (await peer.read())["event"] != "FINALIZED":
        pass
    peer.socket.transport.abort()


def stream_of(server: Served, token: RealtimeSessionToken) -> StreamSummary:
    """The stream of a session, as the database has it."""
    (stream,) = server.deployment.store.streams(session_id=token.session_id)
    return stream


async def test_a_stream_that_goes_on_is_not_one_too_many(
    start_server: Start, mint: Mint, extended: Any, speech: bytes
) -> None:
    """A tenancy that has as many as it may does not lose one that moves."""
    first, second = (start_server(live_sessions_per_tenancy=1) for _ in range(2))
    token = mint(first)
    async with extended(first) as cut:
        await say(cut, token, speech)
    await until(lambda: second.deployment.quotas.elsewhere.live.total() > 0)
    async with extended(second, resume(token.session_id, 1)) as moved:
        assert (await moved.authenticate(token))["event"] == "CONNECT"
        async with extended(second) as another:
            answer = await another.authenticate(mint(second))
            assert (answer["event"], answer["code"]) == ("ERROR", 429)


async def test_what_a_server_has_not_written_yet_it_still_knows(
    start_server: Start,
    mint: Mint,
    extended: Any,
    speech: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream that was left here goes on here behind all its finals, and is not ended again."""
    monkeypatch.setattr(writer_module, "SHORTEST_PAUSE_S", 2.0)
    server = start_server()
    token = mint(server)
    database = server.home.path / "stapes.db"
    async with extended(server) as cut:
        await cut.authenticate(token)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await cut.send_audio(speech)
            await cut.send_json(event="SEND_FINAL_RESULT")
            while (await cut.read())["event"] != "FINALIZED":
                pass
            held = server.deployment.live.find(token.session_id)
            assert held is not None
            await until(lambda: server.deployment.writer.problem is not None)
            server.loop.call_soon_threadsafe(held[0].post, Moved())
            await until(held[0].ended.is_set)
            other.execute("ROLLBACK")  # the writer tries again in a while
    async with extended(server, resume(token.session_id, 0)) as back:
        connect = await back.authenticate(token)
        assert (connect["event"], connect["resultsFrom"]) == ("CONNECT", 1)
        assert await back.read_final()
        await asyncio.to_thread(server.deployment.writer.flush, PATIENCE_S)
        assert stream_of(server, token).closed_at is None
