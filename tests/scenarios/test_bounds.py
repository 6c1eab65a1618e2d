"""Bounds of a token on a real socket: whatever its holder does, they hold for the whole session."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import quote

import pytest

from stapes import RealtimeSessionToken
from stapes.store.port import StreamSummary
from stapes.store.sql import open_store
from tests.conftest import Served
from tests.waiting import PATIENCE_S, until

Mint = Callable[..., RealtimeSessionToken]
SECOND = 32_000
TOO_MUCH = (429, 1008)


def bounded(mint: Mint, served: Served, **bounds: Any) -> RealtimeSessionToken:
    tags = {name.replace("_", "-"): value for name, value in bounds.items()}
    return mint(served, defined_tags={"stapes": tags})


def streams(served: Served, token: RealtimeSessionToken) -> list[StreamSummary]:
    served.deployment.writer.flush(PATIENCE_S)
    return served.deployment.store.streams(session_id=token.session_id)[::-1]


async def until_ended(served: Served) -> None:
    await until(lambda: not len(served.deployment.live))


async def test_no_frame_is_longer_than_the_audio_that_is_left(
    served: Any, mint: Mint, peer: Any
) -> None:
    """What is over the limit is neither heard nor acknowledged nor accounted for."""
    token = bounded(mint, served, max_audio_seconds=2)
    async with peer(served.ws_url, "isAckEnabled=true") as client:
        await client.authenticate(token)
        await client.send_audio(bytes(30 * SECOND), 30 * SECOND)
        assert await client.read_to_close() == TOO_MUCH
    (ack,) = [it for it in client.messages if it["event"] == "ACKAUDIO"]
    assert ack["details"]["length"] == 2 * SECOND
    assert [it.audio_ms for it in streams(served, token)] == [2000]


async def test_the_most_audio_is_that_of_all_streams_of_a_session(
    served: Any, mint: Mint, peer: Any
) -> None:
    """An opening has what those before left; one for which nothing is left takes no recogniser."""
    token = bounded(mint, served, max_audio_seconds=3)
    async with peer(served.ws_url) as first:
        await first.authenticate(token)
        await first.hear(bytes(2 * SECOND))
    await until_ended(served)
    async with peer(served.ws_url) as second:
        assert (await second.authenticate(token))["event"] == "CONNECT"
        await second.send_audio(bytes(5 * SECOND))
        assert await second.read_to_close() == TOO_MUCH
    await until_ended(served)
    opened = served.deployment.pool.opened
    async with peer(served.ws_url) as third:
        assert await third.authenticate(token)
        assert third.messages[0]["code"] == 429
        assert await third.read_to_close() == (0, 1008)
    assert served.deployment.pool.opened == opened
    assert [it.audio_ms for it in streams(served, token)] == [2000, 1000]


async def test_the_longest_session_is_that_of_all_its_streams(
    served: Any, mint: Mint, peer: Any
) -> None:
    """Opening it anew does not begin its time anew."""
    token = bounded(mint, served, max_session_seconds=1)
    for expected in ("CONNECT", "ERROR"):
        async with peer(served.ws_url) as client:
            assert (await client.authenticate(token))["event"] == expected
            await client.read_to_close()
        await until_ended(served)
    assert len(streams(served, token)) == 1


async def test_a_session_without_bounds_is_opened_as_often_as_it_likes(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Other bounds than those of time and audio do not add up."""
    token = bounded(mint, served, language_code="en-US")
    for _ in range(3):
        async with peer(served.ws_url) as client:
            await client.authenticate(token)
            assert await client.hear(speech)
        await until_ended(served)


@pytest.mark.parametrize("code", ["en", "EN-us"])
async def test_a_bound_says_a_language_as_a_query_does(
    served: Any, mint: Mint, peer: Any, code: str
) -> None:
    """``en`` is en-US in both."""
    token = bounded(mint, served, language_code=code)
    for query in ("", f"languageCode={code}", "languageCode=en"):
        async with peer(served.ws_url, query) as client:
            assert (await client.authenticate(token))["event"] == "CONNECT"
        await until_ended(served)


# A stream whose server has stopped, taken over from the store


@pytest.fixture
def extended(peer: Any) -> Any:
    """A bare connection that asks for the extension, and for a stream to go on with."""

    @asynccontextmanager
    async def open_(
        served: Served, token: RealtimeSessionToken | None = None, more: str = ""
    ) -> Any:
        resume = f"resume={quote(token.session_id)}&lastResult=0" if token else ""
        async with peer(served.ws_url, resume + more, subprotocols=["stapes.v1"]) as opened:
            yield opened

    return open_


@pytest.fixture
def left(start_server: Any, mint: Mint, extended: Any, speech: bytes) -> Any:
    """Leave a stream behind on a server that stops: its token, and how it ended there."""

    async def leave(**bounds: Any) -> tuple[RealtimeSessionToken, StreamSummary]:
        server = start_server()
        token = bounded(mint, server, **bounds)
        async with extended(server) as client:
            await client.authenticate(token)
            await client.send_audio(speech)
            await client.send_json(event="SEND_FINAL_RESULT")
            await client.read_final()
            await asyncio.to_thread(server.stop)
        with closing(open_store(server.home.database)) as store:
            (ended,) = store.streams(session_id=token.session_id)
        assert ended.closed_at is not None
        assert ended.audio_ms
        return token, ended

    return leave


async def test_a_session_that_goes_on_elsewhere_is_as_old_as_it_was(
    start_server: Any, extended: Any, left: Any
) -> None:
    """Taking it over does not begin its longest time anew."""
    token, _ = await left()
    server = start_server()
    five_hours_us = 5 * 3600 * 1_000_000
    with closing(sqlite3.connect(server.home.database)) as database, database:
        database.execute("UPDATE streams SET opened_at = opened_at - ?", (five_hours_us,))
    async with extended(server, token) as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"
        assert await client.read_to_close() == TOO_MUCH


async def test_a_stream_that_is_not_gone_on_with_has_ended_as_before(
    start_server: Any, extended: Any, left: Any
) -> None:
    """Refused by its parameters or for want of a recogniser, and it can be asked for again."""
    token, ended = await left(single_use=True)
    server = start_server(streams=1)
    for more in ("&encoding=nonsense", "&languageCode=xx", "&punctuation=AUTO"):
        async with extended(server, token, more) as client:
            assert (await client.authenticate(token))["code"] == 400
        await until_ended(server)
        assert streams(server, token) == [ended]
    async with extended(server, token) as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"


async def test_a_stream_is_not_lost_for_want_of_a_recogniser(
    start_server: Any, mint: Mint, peer: Any, extended: Any, left: Any
) -> None:
    """503, with what it used still accounted for and its single use used up."""
    token, ended = await left(single_use=True)
    server = start_server(streams=1)
    async with peer(server.ws_url) as other:
        await other.authenticate(mint(server))
        async with extended(server, token) as client:
            assert (await client.authenticate(token))["code"] == 503
        await until(lambda: len(server.deployment.live) == 1)
        assert streams(server, token) == [ended]
        async with extended(server) as client:
            assert (await client.authenticate(token))["code"] == 401
    await until_ended(server)
    async with extended(server, token) as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"
