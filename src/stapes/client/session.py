"""A session of realtime speech: audio goes out, typed results come in, cuts are mended."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from stapes.audio.encodings import parse_encoding
from stapes.client.credentials import Token, TokenCallback, credential
from stapes.client.dialing import Dialer, Message, Opened, parse, refusal
from stapes.client.profile import Profile
from stapes.client.results import Final, Partial, Result
from stapes.client.resuming import FRAME_MS, Resuming
from stapes.errors import (
    ClientError,
    ConnectionLostError,
    InvalidParameterError,
    ServerRefusedError,
    ServerUnreachableError,
)
from stapes.protocol.extension import Finalized, GoAway, LimitWarning, ResumableConnect
from stapes.protocol.messages import AckAudio, ErrorMessage
from stapes.protocol.messages import Result as ResultMessage

DEFAULT_ENCODING = "audio/raw;rate=16000"
MOST_WAITING_RESULTS = 1_000
PASSING = (409, 429, 503)
"""Refusals that trying again can help against: the old socket still seems live, no room, stopping."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is mended; times in s.

    The wait before each attempt is random, up to a bound that doubles from ``first_s`` to
    ``longest_s``. ``give_up_s`` after the loss the session has failed; servers keep a session for
    about as long.
    """

    first_s: float = 0.2
    longest_s: float = 5.0
    give_up_s: float = 120.0


class Session:
    """An open session; `connect` makes one. Iterate over it for its results.

    Attributes:
        reconnects: how often the connection was lost and mended.
        warning: the server's last word on a limit that is near.
    """

    def __init__(
        self, dialer: Dialer, opened: Opened, ledger: Resuming, reconnect: Reconnect, frame: int
    ) -> None:
        self.reconnects = 0
        self.warning: LimitWarning | None = None
        self._dialer = dialer
        self._opened = opened
        self._ledger = ledger
        self._reconnect = reconnect
        self._frame_bytes = frame
        self._waiting: deque[Result] = deque()
        self._failure: Exception | None = None
        self._is_over = False
        self._changed = asyncio.Event()
        self._lost_at: float | None = None
        self._attempts = 0
        ledger.connected(opened.message)

    @property
    def session_id(self) -> str:
        """The server's name for the session."""
        return self._ledger.session_id

    @property
    def is_resumable(self) -> bool:
        """Whether the server can take the session up again after a cut."""
        return self._ledger.is_resumable

    @property
    def finals(self) -> tuple[Final, ...]:
        """The finals so far; empty ones are left out."""
        return tuple(self._ledger.finals)

    @property
    def transcript(self) -> str:
        """The text of the finals so far."""
        return " ".join(final.text for final in self._ledger.finals)

    @property
    def expires_at(self) -> datetime | None:
        """Until when the credential opens sockets, when the server tells."""
        message = self._opened.message
        return message.expires_at if isinstance(message, ResumableConnect) else None

    @property
    def limits(self) -> Mapping[str, Any]:
        """What the session may do, when the server tells."""
        message = self._opened.message
        return message.limits if isinstance(message, ResumableConnect) else {}

    async def send(self, audio: bytes) -> None:
        """Send audio in the session's encoding; however it is cut.

        Waits while the server is behind. While the server is away, audio is kept for it, and this
        returns at once.

        Raises:
            BufferOverflowError: the server is away and there is no more room. This audio was not
                taken; the session goes on.
            ClientError: the session has failed or ended, as in iteration.
        """
        self._check()
        self._ledger.put(audio)
        self._tell()
        ledger, most = self._ledger, self._frame_bytes
        await self._until(lambda: not ledger.is_connected or ledger.unsent_bytes <= most)

    async def drain(self) -> None:
        """Wait until all audio is on its way, over cuts too. For audio that is read, not spoken.

        A program that sends faster than real time calls it after each `send`, and never meets a
        `BufferOverflowError`. Raises `ClientError` as `send` does.
        """
        await self._until(lambda: self._ledger.unsent_bytes == 0)
        self._check()

    async def finalize(self) -> None:
        """Have everything sent so far made final; returns when it is. The session goes on.

        Raises `ClientError` when the session fails or ends before.
        """
        self._check()
        position = self._ledger.request_final()
        self._tell()
        await self._until(lambda: self._ledger.is_answered(position))
        if not self._ledger.is_answered(position):
            self._check()

    async def finish(self) -> None:
        """Finalize and end the session: iteration ends after the last result."""
        await self.finalize()
        await self._opened.socket.close()
        await self._until(lambda: False)

    async def next_result(self) -> Result | None:
        """The next result; None after the last one. Raises `ClientError` when the session fails."""
        await self._until(lambda: bool(self._waiting))
        if self._waiting:
            return self._waiting.popleft()
        if self._failure is not None:
            raise self._failure
        return None

    async def __aiter__(self) -> AsyncIterator[Result]:
        """Results until the session has ended. One loop at a time: each result comes once.

        Raises:
            ServerRefusedError: the server ended the session, with its own code and message.
            ConnectionLostError: the connection was lost and the session could not go on.
            ClientError: the server sent what cannot be read.
        """
        while (result := await self.next_result()) is not None:
            yield result

    # The life of the session, in a task of its own

    async def _run(self) -> None:
        try:
            while await self._serve(self._opened.socket):
                self._ledger.lost()
                self._tell()
                self._opened = await self._redial()
                self.reconnects += 1
                self._tell()
        except Exception as error:
            self._failure = error
        finally:
            self._is_over = True
            self._ledger.lost()
            self._opened.socket.transport.abort()
            self._tell()

    async def _serve(self, socket: ClientConnection) -> bool:
        """Use a socket to its end; whether the session goes on after it."""
        writing = asyncio.create_task(self._write(socket))
        try:
            while True:
                frame = await socket.recv()
                if not self._take(parse(frame, socket), socket):
                    return True
        except ConnectionClosedOK as error:
            # 1000 is the end. A server that goes away (1001) is as good as lost.
            return self._go_on(error) if socket.close_code != 1000 else False
        except ConnectionClosed as error:
            return self._go_on(error)
        finally:
            writing.cancel()
            await asyncio.wait([writing])

    def _go_on(self, error: ConnectionClosed) -> bool:
        if not self._ledger.is_resumable:
            raise ConnectionLostError(
                f"the connection was lost: {error}; the server cannot take a session up again, "
                f"and {self._ledger.loss()}"
            ) from error
        return True

    async def _write(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # the reader meets it too, and tells
            while True:
                while (frame := self._ledger.next_frame()) is not None:
                    await socket.send(frame)
                    self._tell()
                await self._changed.wait()

    def _take(self, message: Message, socket: ClientConnection) -> bool:
        """Take a message in; whether more may follow on this socket."""
        self._lost_at, self._attempts = None, 0
        match message:
            case ResultMessage():
                self._hear(message)
            case AckAudio():
                self._ledger.acknowledged(message.details.length)
            case Finalized():
                self._ledger.finalized(message.through_ms)
            case LimitWarning():
                self.warning = message
            case GoAway():
                self._leave(message, socket)
            case ErrorMessage():
                return self._refused(message)
            case _:
                raise ClientError("the server sent CONNECT twice")
        self._tell()
        return True

    def _hear(self, message: ResultMessage) -> None:
        result = self._ledger.heard(message)
        if result is None:
            return
        if len(self._waiting) >= MOST_WAITING_RESULTS:  # nobody reads: finals alone are kept
            self._waiting = deque(each for each in self._waiting if not isinstance(each, Partial))
        self._waiting.append(result)

    def _leave(self, message: GoAway, socket: ClientConnection) -> None:
        """Move to the next server at some time of the first half of the time that is given.

        Without a close: that would end the session.
        """
        self._dialer.move_on()
        wait_s = random.uniform(0, message.reconnect_within_ms / 2000)  # noqa: S311
        asyncio.get_running_loop().call_later(wait_s, socket.transport.abort)

    def _refused(self, message: ErrorMessage) -> bool:
        if message.code != 503 or not self._ledger.is_resumable:
            raise refusal(message)
        self._dialer.move_on()
        return False

    async def _redial(self) -> Opened:
        """Take the session up again. Raises `ConnectionLostError` in the end."""
        self._opened.socket.transport.abort()
        loop = asyncio.get_running_loop()
        self._lost_at = self._lost_at or loop.time()
        deadline = self._lost_at + self._reconnect.give_up_s
        cause: Exception | None = None
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.sleep(self._wait_s())
                    return await self._resume()
            except (ServerUnreachableError, TimeoutError) as error:
                cause = cause if isinstance(error, TimeoutError) and cause else error
                self._dialer.move_on()
            except ServerRefusedError as error:
                if error.status not in PASSING:
                    raise self._given_up("the server does not take it up again", error) from error
                cause = error
                self._dialer.move_on()
        raise self._given_up(f"it was away for {self._reconnect.give_up_s:g} s", cause) from cause

    def _wait_s(self) -> float:
        bound_s = min(self._reconnect.longest_s, self._reconnect.first_s * 2**self._attempts)
        self._attempts = min(self._attempts + 1, 30)
        return random.uniform(0, bound_s)  # noqa: S311 - spreads clients, keeps no secret

    async def _resume(self) -> Opened:
        opened = await self._dialer.dial(
            resume=self.session_id, lastResult=str(self._ledger.last_result)
        )
        try:
            self._ledger.connected(opened.message)
        except ClientError:
            opened.socket.transport.abort()
            raise
        return opened

    def _given_up(self, why: str, cause: Exception | None) -> ConnectionLostError:
        told = f" ({cause})" if cause and str(cause) else ""
        return ConnectionLostError(
            f"the connection was lost and {why}{told}; {self._ledger.loss()}"
        )

    # Waiting

    def _tell(self) -> None:
        """Wake whoever waits; each looks for itself at what has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, or the session is over."""
        while not self._is_over and not is_so():
            await self._changed.wait()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._is_over:
            raise ClientError(f"the session has ended; {self._ledger.loss()}")


@asynccontextmanager
async def connect(
    url: str | Sequence[str],
    *,
    token: Token | None = None,
    token_callback: TokenCallback | None = None,
    profile: str | Profile | None = None,
    compartment_id: str | None = None,
    parameters: Mapping[str, str] | None = None,
    reconnect: Reconnect | None = None,
    buffer_s: float = 600,
) -> AsyncIterator[Session]:
    """Open a session; it ends when the block is left.

    Args:
        url: the server's base URL, ``http(s)`` or ``ws(s)``; several when several servers are one
            service.
        token: a session token: the answer of the token endpoint, or its JWT alone.
        token_callback: fetches a token when there is none, and again when it has expired.
        profile: in place of tokens, whose key signs; by name, from the OCI configuration file.
        compartment_id: the session's compartment; that of the token or profile when not given.
        parameters: the query parameters of the socket, by their names on the wire. Audio is
            acknowledged unless they say ``isAckEnabled=false``.
        reconnect: how a lost connection is mended.
        buffer_s: seconds of audio that are kept for a server that is away.

    Raises:
        ServerUnreachableError: no server answers, or the connection is lost at once.
        ServerRefusedError: the server said no; with its own code and message.
        ClientError: the credential cannot be used, or the answer cannot be read.
    """
    asked = {"encoding": DEFAULT_ENCODING, "isAckEnabled": "true", **(parameters or {})}
    try:
        encoding = parse_encoding(asked["encoding"])
    except InvalidParameterError as error:
        raise ClientError(str(error)) from error
    ledger = Resuming(
        encoding,
        buffer_bytes=encoding.ms_to_bytes(int(buffer_s * 1000)),
        is_acknowledged=asked["isAckEnabled"] == "true",
    )
    urls = [url] if isinstance(url, str) else url
    dialer = Dialer(urls, credential(token, token_callback, profile, compartment_id), asked)
    opened = await dialer.dial_any()
    session = Session(
        dialer, opened, ledger, reconnect or Reconnect(), encoding.ms_to_bytes(FRAME_MS)
    )
    running = asyncio.create_task(session._run())
    try:
        yield session
    finally:
        await _close(session, running)


async def _close(session: Session, running: asyncio.Task[None]) -> None:
    if session._ledger.is_connected:
        await session._opened.socket.close()
    running.cancel()
    await asyncio.wait([running])
