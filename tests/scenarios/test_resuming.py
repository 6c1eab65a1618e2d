"""Streams that go on after a lost connection, on the server that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from websockets.asyncio.client import ClientConnection

from stapes import RealtimeSessionToken
from tests.conftest import Served, running_server
from tests.waiting import until

QUERY = "finalSilenceThresholdInMs=500"
CHUNK = 3200

Mint = Callable[..., RealtimeSessionToken]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of these tests' own: they leave streams behind that wait for their peers."""
    with running_server(tmp_path_factory.mktemp("resuming") / "home") as server:
        yield server


def cut(socket: ClientConnection) -> None:
    """Break the connection without a word."""
    socket.transport.abort()


@pytest.fixture
def extended(peer: Any) -> Any:
    """A bare connection that asks for the extension."""

    @asynccontextmanager
    async def open_(url: str, query: str = QUERY) -> Any:
        async with peer(url, query, subprotocols=["stapes.v1"]) as opened:
            yield opened

    return open_


def resume(session_id: str, last_result: int) -> str:
    return f"{QUERY}&resume={quote(session_id)}&lastResult={last_result}"


async def finals_of(peer: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = await peer.read()
        assert message["event"] != "ERROR", message
        if message["event"] == "RESULT" and message["transcriptions"][0]["isFinal"]:
            found.append(message)
    return found


async def test_a_cut_stream_goes_on_where_it_was(
    served: Any, mint: Mint, extended: Any, speech: bytes
) -> None:
    """The finals of both sockets together are those of a stream that was never cut."""
    token = mint(served)
    async with extended(served.ws_url) as whole:
        await whole.authenticate(mint(served))
        await whole.send_audio(speech * 2)
        await whole.send_json(event="SEND_FINAL_RESULT")
        while (await whole.read())["event"] != "FINALIZED":
            pass
    expected = [it for it in whole.messages if it["event"] == "RESULT"]
    expected = [it["transcriptions"] for it in expected if it["transcriptions"][0]["isFinal"]]

    heard: list[Any] = []
    audio, offset, number = speech * 2, 0, 0
    for sent in (20_000, 70_000, len(audio)):
        query = QUERY if not offset else resume(token.session_id, number)
        async with extended(served.ws_url, query) as peer:
            connect = await peer.authenticate(token)
            assert connect["event"] == "CONNECT"
            offset = connect["resumeFrom"]
            await peer.send_audio(audio[offset:sent], CHUNK)
            if sent == len(audio):
                await peer.send_json(event="SEND_FINAL_RESULT")
                while (await peer.read())["event"] != "FINALIZED":
                    pass
            else:
                await asyncio.sleep(0.2)
                cut(peer.socket)
            for it in peer.messages:
                is_final = it["event"] == "RESULT" and it["transcriptions"][0]["isFinal"]
                if is_final and it["number"] > number:
                    heard.append(it["transcriptions"])
                    number = it["number"]
            offset = offset or 1
    assert heard == [it for it in expected if it[0]["transcription"]]


async def test_a_second_socket_does_not_take_a_living_one_away(
    served: Any, mint: Mint, extended: Any, speech: bytes
) -> None:
    """The first answers a ping: the second is refused, and the first goes on."""
    token = mint(served)
    async with extended(served.ws_url) as first:
        await first.authenticate(token)
        async with extended(served.ws_url, resume(token.session_id, 0)) as second:
            answer = await second.authenticate(token)
            assert (answer["event"], answer["code"]) == ("ERROR", 409)
        assert await first.hear(speech)


async def test_nobody_else_goes_on_with_a_stream(served: Any, mint: Mint, extended: Any) -> None:
    """A token is for its own session, cut or not."""
    token = mint(served)
    async with extended(served.ws_url) as first:
        await first.authenticate(token)
        cut(first.socket)
    async with extended(served.ws_url, resume(token.session_id, 0)) as thief:
        answer = await thief.authenticate(mint(served))
        assert (answer["event"], answer["code"]) == ("ERROR", 401)


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 12])
async def test_a_last_result_that_is_no_number_is_400(
    served: Any, mint: Mint, extended: Any, last: str
) -> None:
    """And named."""
    token = mint(served)
    query = f"{QUERY}&resume={token.session_id}&lastResult={last}"
    async with extended(served.ws_url, query) as peer:
        answer = await peer.authenticate(token)
    assert answer["code"] == 400
    assert "lastResult" in answer["message"]


async def test_a_stream_that_was_never_there_is_404(served: Any, mint: Mint, extended: Any) -> None:
    """The client may begin a new one."""
    token = mint(served)
    async with extended(served.ws_url, resume(token.session_id, 0)) as peer:
        answer = await peer.authenticate(token)
    assert (answer["event"], answer["code"]) == ("ERROR", 404)


async def test_resuming_without_the_extension_is_a_new_stream(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Unknown parameters are ignored, as ever."""
    token = mint(served)
    async with peer(served.ws_url, resume(token.session_id, 5)) as plain:
        assert (await plain.authenticate(token)).keys() == {"event", "sessionId"}
        assert await plain.hear(speech)


async def test_a_single_use_token_resumes_its_one_opening(
    served: Any, mint: Mint, extended: Any, speech: bytes
) -> None:
    """Resumes are part of it; a second opening is not."""
    token = mint(served, defined_tags={"stapes": {"single-use": True}})
    async with extended(served.ws_url) as first:
        await first.authenticate(token)
        await first.send_audio(speech[:16_000])
        cut(first.socket)
    async with extended(served.ws_url, resume(token.session_id, 0)) as second:
        connect = await second.authenticate(token)
        assert connect["limits"] == {"single-use": True}
        await second.send_audio(speech[connect["resumeFrom"] :])
        await second.send_json(event="SEND_FINAL_RESULT")
        assert await finals_of(second, 1)
    async with extended(served.ws_url) as third:
        answer = await third.authenticate(token)
        assert (answer["event"], answer["code"]) == ("ERROR", 401)


async def test_a_waiting_stream_that_is_revoked_cannot_be_resumed(
    served: Any, mint: Mint, extended: Any
) -> None:
    """Waiting is being live."""
    token = mint(served)
    async with extended(served.ws_url) as first:
        await first.authenticate(token)
        cut(first.socket)
    from datetime import UTC, datetime

    from stapes.store.records import Revoked

    revoked = Revoked(served.home.tenancy_id, "session", token.session_id, datetime.now(UTC))
    served.deployment.store.write([revoked])
    await until(lambda: served.deployment.live.find(token.session_id) is None)
    async with extended(served.ws_url, resume(token.session_id, 0)) as second:
        answer = await second.authenticate(token)
        assert (answer["event"], answer["code"]) == ("ERROR", 401)


async def test_a_token_may_come_as_a_subprotocol(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """For browsers; it is not echoed, and without the extension it is no token."""
    token = mint(served)
    offered = f"stapes-token.{token.token}"
    async with peer(served.ws_url, subprotocols=["stapes.v1", offered]) as browser:
        assert browser.socket.subprotocol == "stapes.v1"
        assert (await browser.read())["event"] == "CONNECT"
        assert await browser.hear(speech)
    async with peer(served.ws_url, subprotocols=["stapes.v1", f"{offered[:-4]}AAAA"]) as forger:
        assert await forger.read_to_close() == (401, 1008)


async def test_a_token_as_a_subprotocol_never_reaches_the_log(
    served: Any, mint: Mint, peer: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does a forged one."""
    token = mint(served)
    for offered in (token.token, token.token[:-6] + "AAAAAA"):
        protocols = ["stapes.v1", f"stapes-token.{offered}"]
        async with peer(served.ws_url, subprotocols=protocols) as browser:
            await browser.read()
    written = "".join(capfd.readouterr())
    assert token.token[:60] not in written
    assert "stapes-token" not in written
