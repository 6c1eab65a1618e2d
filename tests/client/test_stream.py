"""Streams: what is sent, what is made of the answers, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from stapes.client.profile import Profile, read_profile
from stapes.client.stream import UNACKNOWLEDGED_BYTES, Result, Stream, open_stream
from stapes.client.tokens import mint_token
from stapes.errors import ClientError, ServerRefusedError, ServerUnreachableError
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails
from stapes.protocol.words import Word
from tests.client.conftest import Stand
from tests.conftest import Served

CONNECT = json.dumps({"event": "CONNECT", "sessionId": "s"})
DEADLINE_S = 30


def _result(text: str, *, is_final: bool, tokens: tuple[dict[str, Any], ...] = ()) -> str:
    transcription = {
        "transcription": text,
        "isFinal": is_final,
        "startTimeInMs": 100,
        "endTimeInMs": 900,
        "trailingSilence": 500,
        "confidence": 0.5,
        "tokens": tokens,
    }
    return json.dumps({"event": "RESULT", "sessionId": "s", "transcriptions": [transcription]})


def _token(text: str, start_ms: int, end_ms: int, kind: str = "WORD") -> dict[str, Any]:
    return {
        "token": text,
        "startTimeInMs": start_ms,
        "endTimeInMs": end_ms,
        "confidence": 0.5,
        "type": kind,
    }


async def _read_to_end(url: str) -> list[Result]:
    async with open_stream(url, "jwt", compartment_id="c") as stream:
        return [result async for result in stream]


async def test_first_frame_is_the_token(stand_in: Stand) -> None:
    """In the shape of the wire, on the path of the wire, with the parameters in the query."""
    seen: list[Any] = []

    async def behave(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.extend([socket.request.path, json.loads(await socket.recv())])
        await socket.send(CONNECT)
        async for frame in socket:
            seen.append(frame)

    url = await stand_in(behave)
    parameters = {"languageCode": "en-US"}
    async with open_stream(url, "jwt", compartment_id="c", parameters=parameters) as stream:
        assert stream.session_id == "s"
        await stream.send(b"\0\1")
        await stream.finalize()
    assert seen == [
        "/ws/transcribe/stream?languageCode=en-US",
        {"authenticationType": "TOKEN", "compartmentId": "c", "token": "jwt"},
        b"\0\1",
        '{"event":"SEND_FINAL_RESULT"}',
    ]


async def test_results_are_typed(stand_in: Stand) -> None:
    """Punctuation belongs to the word before it; acks and further events are no results."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        ack = {"number": 1, "offset": 0, "length": 2}
        await socket.send(json.dumps({"event": "ACKAUDIO", "sessionId": "s", "details": ack}))
        await socket.send(_result("hello", is_final=False))
        tokens = (_token("hello", 100, 400), _token("world", 500, 900))
        mark = _token(".", 900, 900, "PUNCTUATION")
        await socket.send(_result("hello world.", is_final=True, tokens=(*tokens, mark)))

    partial, final = await _read_to_end(await stand_in(behave))
    assert partial == Result("hello", False, 100, 900, 500, 0.5, ())
    words = (Word("hello", 100, 400, 0.5), Word("world.", 500, 900, 0.5))
    assert final == Result("hello world.", True, 100, 900, 500, 0.5, words)


async def test_error_before_connect_is_a_refusal(stand_in: Stand) -> None:
    """With the status and the code word of the server."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"event":"ERROR","code":401,"message":"NotAuthenticated: No."}')
        await socket.close(1008)

    with pytest.raises(ServerRefusedError, match="401 NotAuthenticated: No") as got:
        await _read_to_end(await stand_in(behave))
    assert (got.value.status, got.value.code) == (401, "NotAuthenticated")


async def test_error_in_a_stream_is_a_refusal(stand_in: Stand) -> None:
    """A message without a code word has no code."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.send('{"event":"ERROR","code":503,"message":"No room: none at all"}')
        await socket.close(1013)

    with pytest.raises(ServerRefusedError, match="ended the stream: 503 No room") as got:
        await _read_to_end(await stand_in(behave))
    assert (got.value.status, got.value.code) == (503, "")


@pytest.mark.parametrize("frame", ["nonsense", "{}", '{"event":"NEW"}', "[]"])
async def test_unreadable_message_is_told(stand_in: Stand, frame: str) -> None:
    """Before CONNECT and after it."""

    async def before(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(frame)

    async def after(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.send(frame)

    for behave in (before, after):
        with pytest.raises(ClientError, match="message that cannot be read"):
            await _read_to_end(await stand_in(behave))


async def test_result_before_connect_is_told(stand_in: Stand) -> None:
    """Such a server speaks another protocol."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(_result("early", is_final=True))

    with pytest.raises(ClientError, match="something else before CONNECT"):
        await _read_to_end(await stand_in(behave))


async def test_lost_connection_is_told(stand_in: Stand) -> None:
    """Before CONNECT, and in the middle of a stream."""

    async def before(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async def after(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.recv()
        socket.transport.abort()

    with pytest.raises(ServerUnreachableError, match="the connection was lost"):
        await _read_to_end(await stand_in(before))
    async with open_stream(await stand_in(after), "jwt", compartment_id="c") as stream:
        await stream.send(b"\0\0")
        with pytest.raises(ServerUnreachableError, match="the connection was lost"):
            await anext(aiter(stream))
        await stream.send(b"\0\0")  # nobody is there: the iteration has said so


async def test_nobody_there_is_told_with_the_url() -> None:
    """Port 1 of loopback has no server."""
    with pytest.raises(ServerUnreachableError, match=r"no server answers at http://127\.0\.0\.1:1"):
        await _read_to_end("http://127.0.0.1:1")


async def test_fast_sender_stays_near_the_acknowledgements(stand_in: Stand) -> None:
    """Sending waits while so many bytes are unacknowledged, and goes on after an ack."""
    acknowledge = asyncio.Event()
    frame = bytes(UNACKNOWLEDGED_BYTES // 2)

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await acknowledge.wait()
        details = {"number": 1, "offset": 0, "length": len(frame)}
        await socket.send(json.dumps({"event": "ACKAUDIO", "sessionId": "s", "details": details}))
        await socket.wait_closed()

    async def read(stream: Stream) -> None:
        async for _ in stream:
            pass

    url = await stand_in(behave)
    parameters = {"isAckEnabled": "true"}
    async with open_stream(url, "jwt", compartment_id="c", parameters=parameters) as stream:
        reading = asyncio.create_task(read(stream))
        for _ in range(2):
            await stream.send(frame)
        third = asyncio.create_task(stream.send(frame))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        acknowledge.set()
        await asyncio.wait_for(third, DEADLINE_S)
    await reading


async def test_waiting_sender_is_freed_when_the_stream_ends(stand_in: Stand) -> None:
    """An error of the server cannot leave a sender waiting for acks for ever."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.recv()
        await socket.send('{"event":"ERROR","code":500,"message":"InternalServerError: Oh."}')

    url = await stand_in(behave)
    parameters = {"isAckEnabled": "true"}
    async with open_stream(url, "jwt", compartment_id="c", parameters=parameters) as stream:
        await stream.send(bytes(UNACKNOWLEDGED_BYTES))
        waiting = asyncio.create_task(stream.send(b"\0\0"))
        with pytest.raises(ServerRefusedError):
            await anext(aiter(stream))
        await asyncio.wait_for(waiting, DEADLINE_S)


@pytest.mark.parametrize("with_token", [True, False])
async def test_real_server_answers_both_ways_to_authenticate(
    served: Served, *, with_token: bool
) -> None:
    """A token and a profile's own signature; twice asked, the last final is the empty one."""
    profile = read_profile(served.home.config_file)
    details = CreateRealtimeSessionTokenDetails(compartment_id=profile.compartment)
    credential: str | Profile = profile
    if with_token:
        credential = (await asyncio.to_thread(mint_token, served.url, profile, details)).token
    async with open_stream(served.url, credential, compartment_id=profile.compartment) as stream:
        await stream.send(bytes(3200))
        await stream.finish()
        async with asyncio.timeout(DEADLINE_S):
            final = await anext(aiter(stream))
    assert final.is_final
    assert (final.text, final.words) == ("", ())
    assert final.start_ms == final.end_ms == 100


async def test_real_server_refuses_a_foreign_profile(served: Served, profile: Profile) -> None:
    """As ERROR 401."""
    with pytest.raises(ServerRefusedError) as got:
        async with open_stream(served.url, profile, compartment_id="c"):
            pass
    assert (got.value.status, got.value.code) == (401, "NotAuthenticated")
