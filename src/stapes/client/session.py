"""A session of realtime speech: audio goes out, typed results come in, cuts are mended."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from stapes.client.dialing import Message, Opened, parse, refusal
from stapes.client.reconnecting import Redialing
from stapes.client.results import Final, Partial, Result
from stapes.client.resuming import Resuming
from stapes.errors import ClientError, ConnectionLostError
from stapes.protocol.extension import Finalized, GoAway, LimitWarning, ResumableConnect
from stapes.protocol.messages import AckAudio, ErrorMessage
from stapes.protocol.messages import Result as ResultMessage

MOST_WAITING_RESULTS = 1_000


class Session:
    """An open session; `connect` makes one. Iterate over it for its results.

    Attributes:
        reconnects: how often the connection was lost and mended.
        warning: the server's last word on a limit that is near.
    """

    def __init__(self, redialing: Redialing, opened: Opened, ledger: Resuming) -> None:
        self.reconnects = 0
        self.warning: LimitWarning | None = None
        self._redialing = redialing
        self._opened = opened
        self._ledger = ledger
        self._waiting: deque[Result] = deque()
        self._failure: Exception | None = None
        self._is_over = False
        self._changed = asyncio.Event()
        ledger.connected(opened.message)
        self._running = asyncio.create_task(self._run())

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
        ledger = self._ledger
        await self._until(lambda: not ledger.is_connected or not ledger.is_behind)

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
        await self.close()

    async def close(self) -> None:
        """End the session without waiting for what is still to be heard. Safe to call twice."""
        try:
            if self._ledger.is_connected:
                await self._opened.socket.close()
        finally:  # cancelled or not: nothing may go on, and least of all reconnect
            self._running.cancel()
            await asyncio.wait([self._running])

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
                self._opened.socket.transport.abort()  # a server that stops may leave it open
                self._ledger.lost()
                self._tell()
                self._opened = await self._redialing.redial(self._ledger)
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
        self._redialing.note_alive()
        match message:
            case ResultMessage():
                self._hear(message)
            case AckAudio():
                self._ledger.acknowledged(message.details.length)
            case Finalized():
                pass  # the final before it has told how far it goes
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
        self._redialing.move_on()
        wait_s = random.uniform(0, message.reconnect_within_ms / 2000)  # noqa: S311
        asyncio.get_running_loop().call_later(wait_s, socket.transport.abort)

    def _refused(self, message: ErrorMessage) -> bool:
        if message.code != 503 or not self._ledger.is_resumable:
            raise refusal(message)
        self._redialing.move_on()
        return False

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
