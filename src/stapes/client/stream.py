"""One stream of a session over a websocket: audio goes out, typed results come in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, assert_never

from pydantic import Field, TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from stapes.client.profile import Profile, load_private_key
from stapes.client.tokens import unreachable
from stapes.client.urls import is_loopback, stream_url
from stapes.errors import ClientError, ServerRefusedError, ServerUnreachableError
from stapes.protocol.messages import (
    AckAudio,
    Authentication,
    Connect,
    CredentialsAuthentication,
    ErrorMessage,
    Finalized,
    GoAway,
    LimitWarning,
    Outgoing,
    SendFinalResult,
    TokenAuthentication,
    Transcription,
)
from stapes.protocol.messages import Result as ResultMessage
from stapes.protocol.results import attached
from stapes.protocol.words import Word
from stapes.signing.signer import sign_credentials

CONNECT_TIMEOUT_S = 15
CLOSE_TIMEOUT_S = 3
UNACKNOWLEDGED_BYTES = 320_000  # 10 s of 16 kHz s16le

_MESSAGE: TypeAdapter[Outgoing] = TypeAdapter(Annotated[Outgoing, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class Result:
    """A partial or final result. Times in ms on the stream's audio timeline.

    Attributes:
        trailing_silence_ms: silence heard after the last word, ms.
        confidence: 0..1.
        words: the words, each with the punctuation that follows it, so that joined by spaces
            they are the text.
    """

    text: str
    is_final: bool
    start_ms: int
    end_ms: int
    trailing_silence_ms: int
    confidence: float
    words: tuple[Word, ...]


class Stream:
    """An open stream; `open_stream` makes one. Iterate over it for its results."""

    def __init__(self, socket: ClientConnection, session_id: str, *, acknowledged: bool) -> None:
        self.session_id = session_id
        self._socket = socket
        self._acknowledged = acknowledged
        self._unacknowledged_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    async def send(self, audio: bytes) -> None:
        """Send audio in the stream's encoding.

        With ``isAckEnabled=true`` this waits while 10 s of audio are unacknowledged, so that a
        fast sender stays near the recogniser; somebody has to iterate over the stream meanwhile.
        When the stream has ended, it returns at once: the iteration tells why.
        """
        if self._acknowledged:
            await self._room.wait()
            self._count(len(audio))
        await self._send(audio)

    async def finalize(self) -> None:
        """Ask for a final that covers all audio sent so far. Does not wait for it."""
        await self._send(SendFinalResult().encode())

    async def finish(self) -> None:
        """Finalize, and ask once more: an empty final then says that everything was heard.

        Each request is answered by one final. To the second one nothing is left to say, so its
        answer is empty, which no other final is: a final that silence brought about cannot be
        taken for the last one.
        """
        await self.finalize()
        await self.finalize()

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Results until the stream is closed.

        Raises `ServerRefusedError` at an ERROR of the server, `ServerUnreachableError` when the
        connection is lost, `ClientError` at a message that cannot be read.
        """
        try:
            async for frame in self._socket:
                for result in self._heard(_parse(frame)):
                    yield result
        except ConnectionClosed as error:
            raise ServerUnreachableError(f"the connection was lost: {error}") from error
        finally:
            self._acknowledged = False
            self._room.set()

    def _heard(self, message: Outgoing) -> Sequence[Result]:
        match message:
            case ResultMessage():
                return [_result(each) for each in message.transcriptions]
            case AckAudio():
                self._count(-message.details.length)
                return ()
            case ErrorMessage():
                raise _refusal(message)
            case Connect() | LimitWarning() | GoAway() | Finalized():
                return ()
            case _:
                assert_never(message)

    def _count(self, sent_bytes: int) -> None:
        self._unacknowledged_bytes += sent_bytes
        if self._unacknowledged_bytes < UNACKNOWLEDGED_BYTES:
            self._room.set()
        else:
            self._room.clear()

    async def _send(self, frame: bytes | str) -> None:
        try:
            await self._socket.send(frame)
        except ConnectionClosed:
            return


@asynccontextmanager
async def open_stream(
    base_url: str,
    credential: str | Profile,
    *,
    compartment_id: str,
    parameters: Mapping[str, str] | None = None,
) -> AsyncIterator[Stream]:
    """Open a stream at the server of ``base_url``; it is closed when the block is left.

    Args:
        base_url: the server's, ``http(s)`` or ``ws(s)``.
        credential: a session token, or a profile whose key signs for a session of its own.
        compartment_id: the one the token was made for, or that the session is to belong to.
        parameters: the query parameters of the socket, by their names on the wire.

    Raises:
        ServerUnreachableError: no server answers, or the connection is lost at once.
        ServerRefusedError: the server said no; with its own code and message.
        ClientError: the profile's key cannot be used, or the answer cannot be read.
    """
    parameters = parameters or {}
    url = stream_url(base_url, parameters)
    authentication = _authentication(url, credential, compartment_id)
    socket = await _connect(base_url, url)
    async with socket:
        await _authenticate(socket, authentication)
        session_id = await _connected(socket)
        acknowledged = parameters.get("isAckEnabled") == "true"
        yield Stream(socket, session_id, acknowledged=acknowledged)


async def _connect(base_url: str, url: str) -> ClientConnection:
    # The server pings. Pings of our own would wait behind audio that the server leaves unread
    # while its engine is behind, and the connection be given up for nothing.
    try:
        return await connect(
            url,
            compression=None,
            ping_interval=None,
            open_timeout=CONNECT_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            proxy=None if is_loopback(url) else True,
        )
    except (OSError, WebSocketException, TimeoutError) as error:
        raise ServerUnreachableError(unreachable(base_url, error)) from error


def _authentication(url: str, credential: str | Profile, compartment_id: str) -> Authentication:
    if isinstance(credential, str):
        return TokenAuthentication(
            authentication_type="TOKEN", compartment_id=compartment_id, token=credential
        )
    key = load_private_key(credential)
    return CredentialsAuthentication(
        authentication_type="CREDENTIALS",
        compartment_id=compartment_id,
        headers=sign_credentials(url, credential.key_id, key, datetime.now(UTC)),
    )


async def _authenticate(socket: ClientConnection, authentication: Authentication) -> None:
    try:
        await socket.send(authentication.encode())
    except ConnectionClosed as error:
        raise ServerUnreachableError(f"the connection was lost: {error}") from error


async def _connected(socket: ClientConnection) -> str:
    try:
        message = _parse(await asyncio.wait_for(socket.recv(), CONNECT_TIMEOUT_S))
    except TimeoutError as error:
        raise ServerUnreachableError("the server does not answer the authentication") from error
    except ConnectionClosed as error:
        raise ServerUnreachableError(f"the connection was lost: {error}") from error
    match message:
        case Connect():
            return message.session_id
        case ErrorMessage():
            raise _refusal(message)
        case _:
            raise ClientError("the server sent something else before CONNECT")


def _parse(frame: str | bytes) -> Outgoing:
    try:
        return _MESSAGE.validate_json(frame)
    except ValidationError as error:
        raise ClientError("the server sent a message that cannot be read") from error


def _refusal(message: ErrorMessage) -> ServerRefusedError:
    word, colon, _rest = message.message.partition(":")
    code = word if colon and word.isalpha() else ""
    return ServerRefusedError(
        f"the server ended the stream: {message.code} {message.message}",
        code=code,
        status=message.code,
    )


def _result(transcription: Transcription) -> Result:
    return Result(
        text=transcription.transcription,
        is_final=transcription.is_final,
        start_ms=transcription.start_time_in_ms,
        end_ms=transcription.end_time_in_ms,
        trailing_silence_ms=transcription.trailing_silence,
        confidence=transcription.confidence,
        words=attached(transcription),
    )
