"""Sessions over real sockets: how they open, go on over cuts, and end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import jwt
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.protocol import State

import stapes
from stapes import (
    BufferOverflowError,
    ClientError,
    ConnectionLostError,
    Final,
    Partial,
    Profile,
    RealtimeSessionToken,
    Reconnect,
    Result,
    ServerRefusedError,
    ServerUnreachableError,
    Session,
    TokenCallbackError,
    Word,
    connect,
    mint_token,
    read_profile,
    samples,
)
from stapes.audio.encodings import parse_encoding
from stapes.cli import listening
from stapes.cli.captions import LineCaptions
from stapes.client.connecting import DEFAULT_ENCODING
from stapes.client.files import file_source
from stapes.client.profile import Server as ServerOf
from stapes.client.resuming import WINDOW_MS
from stapes.protocol.messages import AckAudio, AckDetails
from stapes.protocol.params import split_query
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails
from tests.client.conftest import Stand
from tests.client.simulated import PAUSE, Server, uninterrupted
from tests.conftest import Served

DEADLINE_S = 60
MULAW = "audio/raw;rate=8000;codec=mulaw"
TOKEN = RealtimeSessionToken(token="jwt", session_id="s", compartment_id="c")
AT_ONCE = Reconnect(first_s=0, longest_s=0.01, give_up_s=DEADLINE_S)
CONNECT = json.dumps({"event": "CONNECT", "sessionId": "s"})
UNAUTHENTICATED = '{"event":"ERROR","code":401,"message":"NotAuthenticated: No."}'
STOPPING = '{"event":"ERROR","code":503,"message":"ServiceUnavailable: Stopping."}'
UNKNOWN = '{"event":"ERROR","code":404,"message":"NotAuthorizedOrNotFound: No."}'


def _speech(seed: int, size: int = 40_000) -> bytes:
    return bytes(Random(seed).choices([PAUSE, 1, 2, 3], [1, 400, 400, 400], k=size))


@dataclass
class Front:
    """Sockets before a simulated server; it does to them what a test asks for.

    Attributes:
        cuts: after so many bytes more, the socket breaks.
        refusals: what the next sockets are told in place of CONNECT.
        closed: the close codes of the sockets so far.
        queries: and their queries.
        tokens: and what they authenticated with.
    """

    server: Server = field(default_factory=lambda: Server(parse_encoding(MULAW)))
    cuts: list[int] = field(default_factory=list)
    crashes: bool = False
    refusals: list[str] = field(default_factory=list)
    first_words: list[str] = field(default_factory=list)
    may_open: asyncio.Event = field(default_factory=asyncio.Event)
    closed: list[int | None] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_open.set()

    async def behave(self, socket: ServerConnection) -> None:
        """One socket."""
        assert socket.request is not None
        query = split_query(socket.request.path.partition("?")[2])
        self.queries.append(query)
        self.tokens.append(json.loads(await socket.recv())["token"])
        await self.may_open.wait()
        if self.refusals:
            await socket.send(self.refusals.pop(0))
            return
        assert query.get("resume", "s") == "s"
        await socket.send(self.server.connect(int(query.get("lastResult", 0))).encode())
        for text in self.first_words:
            await socket.send(text)
        try:
            await self._listen(socket)
        finally:
            await socket.wait_closed()
            self.closed.append(socket.close_code)

    async def _listen(self, socket: ServerConnection) -> None:
        room = self.cuts.pop(0) if self.cuts else None
        await self._answer(socket)
        async for frame in socket:
            if room is not None and isinstance(frame, bytes):
                taken, room = frame[:room], room - len(frame)
                self.server.take(taken)
                if room <= 0:
                    if self.crashes:
                        self.server.crash()
                    socket.transport.abort()
                    return
            else:
                self.server.take(frame)
            await self._answer(socket, len(frame) if isinstance(frame, bytes) else 0)

    async def _answer(self, socket: ServerConnection, length: int = 0) -> None:
        if length:
            details = AckDetails(number=1, offset=0, length=length)
            await socket.send(AckAudio(session_id="s", details=details).encode())
        while self.server.outbox:
            await socket.send(self.server.outbox.popleft().encode())


@pytest.fixture
def open_front(stand_in: Stand) -> Callable[..., Any]:
    """Serve a `Front`; gives its URL."""

    async def start(front: Front) -> str:
        return await stand_in(front.behave, subprotocols=["stapes.v1"])

    return start


async def _hear(session: Session, audio: bytes, chunk: int = 320) -> list[Result]:
    async with asyncio.timeout(DEADLINE_S):
        for start in range(0, len(audio), chunk):
            await session.send(audio[start : start + chunk])
        await session.finish()
        return [result async for result in session]


def _expected(audio: bytes) -> str:
    return " ".join(text for text, _, _ in uninterrupted(audio, {len(audio)}))


def _options(**more: Any) -> dict[str, Any]:
    return {"token": TOKEN, "parameters": {"encoding": MULAW}, "reconnect": AT_ONCE, **more}


# Sessions that are taken up again


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("seed", range(5))
async def test_cuts_change_nothing(open_front: Any, seed: int, *, crashes: bool) -> None:
    """Whether the server remembers the audio or only the finals that it had saved."""
    random = Random(seed)
    front = Front(cuts=[random.randrange(1, 12_000) for _ in range(4)], crashes=crashes)
    audio = _speech(seed)
    async with connect(await open_front(front), **_options()) as session:
        assert session.is_resumable
        results = await _hear(session, audio)
    assert bytes(front.server.audio) == audio
    assert session.transcript == _expected(audio)
    assert tuple(each for each in results if isinstance(each, Final)) == session.finals
    assert session.reconnects == 4 - len(front.cuts) >= 3
    assert front.closed[-1] == 1000
    assert all(query["resume"] == "s" for query in front.queries[1:])


async def test_session_moves_where_the_server_sends_it(open_front: Any) -> None:
    """GOAWAY: to the next URL, by a socket that breaks, since a close would end the session."""
    audio = _speech(1)
    server = Server(parse_encoding(MULAW))
    leaving = Front(server, first_words=['{"event":"GOAWAY","reconnectWithinMs":0}'])
    staying = Front(server)
    urls = [await open_front(leaving), await open_front(staying)]
    async with connect(urls, **_options()) as session:
        await _hear(session, audio)
    assert session.transcript == _expected(audio)
    assert (len(leaving.queries), len(staying.queries)) == (1, 1)
    assert leaving.closed == [1006]


async def test_stopping_server_is_left_for_the_next(open_front: Any) -> None:
    """ERROR 503 in a stream that can go on elsewhere."""
    server = Server(parse_encoding(MULAW))
    stopping, staying = Front(server, first_words=[STOPPING]), Front(server)
    urls = [await open_front(stopping), await open_front(staying)]
    async with connect(urls, **_options()) as session:
        await _hear(session, b"\1\2\3")
    assert session.transcript == "010203"
    assert session.reconnects == 1
    assert stopping.closed == [1006], "it was let go of"


async def test_session_begins_where_there_is_room(open_front: Any) -> None:
    """A server that stops or is full is passed over; that the last one is is told."""
    stopping, staying = Front(refusals=[STOPPING] * 2), Front()
    urls = [await open_front(stopping), await open_front(staying)]
    async with connect(urls, **_options()) as session:
        await _hear(session, b"\1")
    assert session.transcript == "01"
    staying.refusals.append(STOPPING)
    with pytest.raises(ServerRefusedError, match="503"):
        async with connect(urls, **_options()):
            pass
    assert (len(stopping.queries), len(staying.queries)) == (2, 2)


async def test_session_begins_nowhere_else_when_it_is_refused_for_itself(open_front: Any) -> None:
    """Another server would say the same."""
    first, second = Front(refusals=[UNAUTHENTICATED]), Front()
    with pytest.raises(ServerRefusedError, match="401"):
        async with connect([await open_front(first), await open_front(second)], **_options()):
            pass
    assert second.queries == []


async def test_nothing_is_left_of_a_session_whose_end_is_cancelled(stand_in: Stand) -> None:
    """The server does not answer the close: the program gives up, and so does the session."""
    connected = asyncio.Event()
    over = asyncio.Event()

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        socket.transport.pause_reading()
        connected.set()
        await over.wait()

    url = await stand_in(behave, ping_interval=None, close_timeout=0.1)
    async with connect(url, **_options()) as session:
        await connected.wait()
        closing = asyncio.create_task(session.close())
        while session._opened.socket.state is not State.CLOSING:
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert session._running.done()
    over.set()


class Unlucky(Exception):
    """Something of the program's own."""


async def test_callback_that_fails_is_called_again(open_front: Any) -> None:
    """Where tokens come from may be as far away as the server is."""
    front = Front(cuts=[100])
    failures: list[Exception] = [Unlucky(), TimeoutError()]

    async def renew() -> RealtimeSessionToken:
        if failures:
            raise failures.pop()
        return TOKEN

    async with connect(await open_front(front), **_options(token_callback=renew)) as session:
        front.refusals.append(UNAUTHENTICATED)
        await _hear(session, bytes([1] * 1000))
    assert session.transcript == "01" * 1000
    assert failures == []


async def test_callback_that_fails_at_the_beginning_is_told() -> None:
    """With its own error as the cause."""

    def fail() -> str:
        raise Unlucky

    with pytest.raises(TokenCallbackError, match="Unlucky") as got:
        async with connect("http://127.0.0.1:1", token_callback=fail):
            pass
    assert isinstance(got.value.__cause__, Unlucky)


async def test_absent_server_is_passed_over(open_front: Any) -> None:
    """The first of several that is there begins the session."""
    urls = ["http://127.0.0.1:1", await open_front(Front())]
    async with connect(urls, **_options()) as session:
        await _hear(session, b"\1")
    assert session.transcript == "01"


async def test_expired_token_is_renewed(open_front: Any) -> None:
    """By the callback, when the session is taken up again; the first one was given."""
    front = Front(cuts=[100])

    async def renew() -> RealtimeSessionToken:
        return TOKEN.model_copy(update={"token": "new"})

    async with connect(await open_front(front), **_options(token_callback=renew)) as session:
        front.refusals.append(UNAUTHENTICATED)
        await _hear(session, bytes([1] * 1000))
    assert front.tokens == ["jwt", "jwt", "new"]
    assert session.transcript == "01" * 1000


async def test_callback_alone_begins_a_session(open_front: Any) -> None:
    """A plain function will do, and a JWT that tells its compartment."""
    token = jwt.encode({"compartment": "c"}, "k" * 32)
    front = Front()
    options = _options(token=None, token_callback=lambda: token)
    async with connect(await open_front(front), **options):
        pass
    assert front.tokens == [token]


async def test_full_buffer_is_told_and_the_session_goes_on(open_front: Any) -> None:
    """Audio that found no room can be sent again when the server is back."""
    front = Front(cuts=[100])
    async with connect(await open_front(front), **_options(buffer_s=0.1)) as session:
        front.may_open.clear()
        await session.send(bytes([1] * 100))
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(BufferOverflowError, match="were not taken"):
                await _send_for_ever(session)
        front.may_open.set()
        async with asyncio.timeout(DEADLINE_S):
            await session.drain()
            await session.send(b"\3")
            await session.finalize()
    heard = bytes(front.server.audio)
    assert heard.startswith(bytes([1] * 100))
    assert heard.endswith(b"\2\3")
    assert session.transcript == heard.hex()


async def _send_for_ever(session: Session) -> None:
    while True:
        await session.send(bytes([2] * 100))
        await asyncio.sleep(0)


async def test_lost_session_says_what_is_lost(open_front: Any) -> None:
    """When the server does not come back in time; iteration, sending and finalizing all tell."""
    front = Front(cuts=[4000], refusals=[])
    options = _options(reconnect=Reconnect(first_s=0, longest_s=0.01, give_up_s=0.2))
    async with connect(await open_front(front), **options) as session:
        front.may_open.clear()
        await session.send(bytes([1] * 8000))
        lost = r"not mended within 0.2 s.*; 1\.0 s of audio have no final"
        with pytest.raises(ConnectionLostError, match=lost):
            await anext(aiter(session))
        with pytest.raises(ConnectionLostError, match=lost):
            await session.send(b"\1")
        with pytest.raises(ConnectionLostError, match=lost):
            await session.finalize()
        front.may_open.set()


async def test_session_that_is_not_known_any_more_is_lost(open_front: Any) -> None:
    """The server's own words are in the error; a passing refusal is tried again."""
    front = Front(cuts=[1])
    async with connect(await open_front(front), **_options()) as session:
        front.refusals += [STOPPING, UNKNOWN]
        await session.send(b"\1")
        with pytest.raises(ConnectionLostError, match="404 NotAuthorizedOrNotFound: No"):
            await anext(aiter(session))
    assert len(front.queries) == 3


async def test_warning_and_bounds_are_told(open_front: Any) -> None:
    """As the server says them."""
    warning = {"event": "WARNING", "code": 429, "message": "TooManyRequests: x", "secondsLeft": 60}
    front = Front(first_words=[json.dumps(warning)])
    async with connect(await open_front(front), **_options()) as session:
        await _hear(session, b"\1")
        assert session.warning is not None
        assert session.warning.seconds_left == 60
        assert (session.expires_at, session.limits) == (None, {})


async def test_finalize_returns_when_all_is_final(open_front: Any) -> None:
    """Again and again in one session; at once when there is nothing new."""
    async with connect(await open_front(Front()), **_options()) as session:
        async with asyncio.timeout(DEADLINE_S):
            for number in range(1, 4):
                await session.send(bytes([number]))
                await session.finalize()
                await session.finalize()
                assert len(session.finals) == number
    assert session.transcript == "01 02 03"


async def test_transcribing_a_file_survives_cuts(open_front: Any, profile: Profile) -> None:
    """At full speed, with what the command prints from."""
    front = Front(Server(parse_encoding(DEFAULT_ENCODING)), cuts=[30_000, 1, 50_000])
    url = await open_front(front)
    server = ServerOf(url, profile, "c")
    source = file_source(samples.load("short").path)
    captions = LineCaptions(finals=False)
    async with asyncio.timeout(DEADLINE_S):
        heard = await listening.listen(server, TOKEN, source, {}, captions, fast=True)
    audio = b"".join(source.chunks())
    assert bytes(front.server.audio) == audio
    assert [(each.text, each.start_ms) for each in heard.finals] == [
        (text, start // 32) for text, start, _ in uninterrupted(audio, {len(audio)})
    ]
    assert heard.duration_ms == len(audio) // 32


# Sessions with a server that speaks no extension


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
    async with connect(url, token=TOKEN) as session, asyncio.timeout(DEADLINE_S):
        return [result async for result in session]


async def test_first_frame_is_the_token(stand_in: Stand) -> None:
    """In the shape of the wire, on the path of the wire, with the parameters in the query."""
    seen: list[Any] = []

    async def behave(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.extend([socket.request.path, json.loads(await socket.recv())])
        await socket.send(CONNECT)
        async for frame in socket:
            seen.append(frame)
            if isinstance(frame, str):
                await socket.send(_result("", is_final=True))

    url = await stand_in(behave)
    async with connect(url, token=TOKEN, parameters={"languageCode": "en-US"}) as session:
        assert (session.session_id, session.is_resumable) == ("s", False)
        await session.send(b"\0\1")
        await asyncio.wait_for(session.finalize(), DEADLINE_S)
    query = "encoding=audio%2Fraw%3Brate%3D16000&isAckEnabled=true&languageCode=en-US"
    assert seen == [
        f"/ws/transcribe/stream?{query}",
        {"authenticationType": "TOKEN", "compartmentId": "c", "token": "jwt"},
        b"\0\1",
        '{"event":"SEND_FINAL_RESULT"}',
    ]


async def test_results_are_typed(stand_in: Stand) -> None:
    """Punctuation belongs to the word before it; acks are no results."""

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
    assert partial == Partial("hello", 100, 900, 500, 0.5, ())
    words = (Word("hello", 100, 400, 0.5), Word("world.", 500, 900, 0.5))
    assert final == Final("hello world.", 100, 900, 500, 0.5, words)
    assert (partial.is_final, final.is_final) == (False, True)


async def test_error_before_connect_is_a_refusal(stand_in: Stand) -> None:
    """With the status and the code word of the server."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(UNAUTHENTICATED)
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


async def test_messages_out_of_place_are_told(stand_in: Stand) -> None:
    """Such a server speaks another protocol."""

    async def early(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(_result("early", is_final=True))

    async def twice(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.send(CONNECT)

    with pytest.raises(ClientError, match="something else before CONNECT"):
        await _read_to_end(await stand_in(early))
    with pytest.raises(ClientError, match="CONNECT twice"):
        await _read_to_end(await stand_in(twice))


async def test_lost_connection_says_what_is_lost(stand_in: Stand) -> None:
    """Before CONNECT nothing; in a stream all that no final accounts for."""

    async def before(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async def after(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.recv()
        await socket.send(_result("one", is_final=True))
        socket.transport.abort()

    with pytest.raises(ServerUnreachableError, match="the connection was lost"):
        await _read_to_end(await stand_in(before))
    async with connect(await stand_in(after), token=TOKEN) as session:
        await session.send(bytes(32_000 * 2))
        results = aiter(session)
        assert (await anext(results)).text == "one"
        with pytest.raises(ConnectionLostError, match=r"cannot take .* 0\.6 s of audio have no"):
            await anext(results)
        with pytest.raises(ConnectionLostError):
            await session.send(b"\0\0")


async def test_session_that_the_server_ends_is_over(stand_in: Stand) -> None:
    """Iteration ends, sending and finalizing are told."""

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await socket.recv()

    async with connect(await stand_in(behave), token=TOKEN) as session:
        await session.send(b"\0\0")
        assert [result async for result in session] == []
        with pytest.raises(ClientError, match="the session has ended"):
            await session.send(b"\0\0")
        with pytest.raises(ClientError, match="the session has ended"):
            await session.finalize()


async def test_nobody_there_is_told_with_the_url() -> None:
    """Port 1 of loopback has no server."""
    with pytest.raises(ServerUnreachableError, match=r"no server answers at http://127\.0\.0\.1:1"):
        await _read_to_end("http://127.0.0.1:1")


async def test_fast_sender_stays_near_the_acknowledgements(stand_in: Stand) -> None:
    """Sending waits while so much is unacknowledged, and goes on after an ack."""
    acknowledge, fail = asyncio.Event(), asyncio.Event()
    second = 32_000

    async def behave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(CONNECT)
        await acknowledge.wait()
        details = {"number": 1, "offset": 0, "length": second}
        await socket.send(json.dumps({"event": "ACKAUDIO", "sessionId": "s", "details": details}))
        await fail.wait()
        await socket.send('{"event":"ERROR","code":500,"message":"InternalServerError: Oh."}')

    async with connect(await stand_in(behave), token=TOKEN) as session:
        for _ in range(WINDOW_MS // 1000 + 1):
            await session.send(bytes(second))
        more = asyncio.create_task(session.send(bytes(second)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not more.done()
        acknowledge.set()
        await asyncio.wait_for(more, DEADLINE_S)
        last = asyncio.create_task(session.drain())
        fail.set()
        with pytest.raises(ServerRefusedError, match="500 InternalServerError"):
            await asyncio.wait_for(last, DEADLINE_S)


@pytest.mark.parametrize(
    "given",
    [{}, {"token": "a", "profile": "b"}, {"token": "no JWT"}, {"parameters": {"encoding": "mp3"}}],
)
async def test_what_cannot_be_is_told_before_anything_is_sent(given: dict[str, Any]) -> None:
    """Nothing or too much to authenticate with, an unknown compartment or encoding."""
    if "parameters" in given:
        given = {"token": TOKEN, **given}
    with pytest.raises(ClientError):
        async with connect("http://127.0.0.1:1", **given):
            pass


# The real server


@pytest.mark.parametrize("with_token", [True, False])
async def test_real_server_answers_both_ways_to_authenticate(
    served: Served, *, with_token: bool
) -> None:
    """A token and a profile's own signature."""
    profile = read_profile(served.home.config_file)
    details = CreateRealtimeSessionTokenDetails(compartment_id=profile.compartment)
    options: dict[str, Any] = {"profile": profile}
    if with_token:
        token = await asyncio.to_thread(mint_token, served.url, profile, details)
        options = {"token": token.token}
    async with connect(served.url, **options) as session, asyncio.timeout(DEADLINE_S):
        await session.send(bytes(3200))
        await session.finalize()
        await session.finish()
        assert [result async for result in session] == []


async def test_real_server_refuses_a_foreign_profile(served: Served, profile: Profile) -> None:
    """As ERROR 401."""
    with pytest.raises(ServerRefusedError) as got:
        async with connect(served.url, profile=profile):
            pass
    assert (got.value.status, got.value.code) == (401, "NotAuthenticated")


def test_real_server_hears_a_program_without_a_loop(served: Served, speech: bytes) -> None:
    """The same session, with methods that wait."""
    profile = read_profile(served.home.config_file)
    with stapes.connect_sync(served.url, profile=profile) as session:
        for start in range(0, len(speech), 3200):
            session.send(speech[start : start + 3200])
            session.drain()
        session.finalize()
        assert session.transcript.startswith("zero one two")
        session.finish()
        assert session.session_id
        assert tuple(result for result in session if result.is_final) == session.finals


def test_failures_reach_a_program_without_a_loop() -> None:
    """As they are."""
    with (
        pytest.raises(ServerUnreachableError),
        stapes.connect_sync("http://127.0.0.1:1", token=TOKEN),
    ):
        pass
