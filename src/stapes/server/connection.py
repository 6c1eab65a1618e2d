"""One websocket of a stream: what its peer says, what it is told, and whether it is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from starlette.websockets import WebSocket

from stapes.protocol.events import AudioArrived, Event, PeerClosed, TextArrived
from stapes.server.outbox import Message, Outbox
from stapes.server.transport import FAREWELL, PING

MOST_FRAMES_WAITING = 4

LOST = frozenset({1006, 1011})
"""Close codes of a connection that broke, or whose peer answers no ping (RFC 6455 section 7.4)."""


class Connection:
    """A websocket that was accepted. What its peer does goes to the inbox of its stream.

    Args:
        inbox: takes frames of the peer, and `PeerClosed` in the end.
        may_read: frames are read while it is set.
        send_timeout_s: how long a message may wait for a peer that reads nothing.
        on_failed: called once, when nothing more can be sent, with what was not; see `Outbox`.

    Attributes:
        left: set when the stream has done with this connection.
    """

    def __init__(
        self,
        websocket: WebSocket,
        inbox: asyncio.Queue[Event],
        may_read: asyncio.Event,
        send_timeout_s: float,
        on_failed: Callable[[Connection, list[Message]], None],
    ) -> None:
        self.left = asyncio.Event()
        self._websocket = websocket
        self._extensions = websocket.scope["extensions"]
        self._inbox = inbox
        self._may_read = may_read
        self._places = asyncio.Semaphore(MOST_FRAMES_WAITING)
        # The state checks of the socket's send() have no use here.
        self._outbox = Outbox(websocket._send, send_timeout_s, lambda it: on_failed(self, it))
        self._reading: asyncio.Task[None] | None = None

    def read(self) -> None:
        """Begin to take in what the peer says."""
        self._reading = asyncio.create_task(self._read())

    async def stop_reading(self) -> None:
        """Take in nothing more."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    def note_taken(self) -> None:
        """The stream has taken a frame from its inbox: there is room for another."""
        self._places.release()

    def send(self, message: Message, *, is_partial: bool = False) -> None:
        """Have a message sent."""
        self._outbox.put(message, is_partial=is_partial)

    async def finish(self) -> None:
        """Send what waits, as far as the peer takes it. Safe to call twice."""
        await self._outbox.finish()

    def say_farewell(self, texts: Sequence[str], code: int) -> None:
        """Leave it all to a peer that reads nothing and cannot come back."""
        self._extensions[FAREWELL](texts, code)

    def abandon(self) -> None:
        """The stream goes on elsewhere: nothing is read or sent here any more."""
        if self._reading is not None:
            self._reading.cancel()
        self._outbox.abandon()
        self.left.set()

    async def is_answering(self, timeout_s: float) -> bool:
        """Whether the peer answers a ping."""
        ping = self._extensions.get(PING)
        return ping is not None and await ping(timeout_s)

    async def _read(self) -> None:
        while True:
            await self._may_read.wait()
            await self._places.acquire()
            await self._outbox.has_room.wait()
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                await self._inbox.put(PeerClosed(is_lost=message.get("code") in LOST))
                return
            audio = message.get("bytes")
            event = TextArrived(message["text"]) if audio is None else AudioArrived(audio)
            await self._inbox.put(event)
