"""What a socket has still to be sent: a task of its own sends it, so that a session never waits.

A peer that reads slowly is read slowly: while much waits here, `has_room` is not set, and nothing
more is taken from it. So what can still be put is bounded by what it has already said.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

CROWDED = 64
"""Messages that may wait before partials give way and the peer is read no further."""

LONGEST_HELD_S = 0.25
"""A message that waits for what it tells to be written waits no longer: while the database takes
nothing, peers are told all the same."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    is_partial: bool
    written: Future[None] | None
    held_until: float  # on the loop's clock


class Outbox:
    """Sends messages in the order in which they were put.

    Args:
        send: sends one message, and waits while the peer does not read.
        timeout_s: how long one may wait.
        on_failed: called once: when the peer is gone, with nothing; when it has read nothing for
            ``timeout_s``, with what waits but for partials. Nothing of that is sent here any more.

    Attributes:
        has_room: set while the peer may be read.
    """

    def __init__(
        self,
        send: Callable[[Message], Awaitable[None]],
        timeout_s: float,
        on_failed: Callable[[list[Message]], None],
    ) -> None:
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._send = send
        self._timeout_s = timeout_s
        self._on_failed = on_failed
        self._waiting: deque[_Waiting] = deque()
        self._put = asyncio.Event()
        self._is_failed = False
        self._is_ending = False
        self._sending = asyncio.create_task(self._run())

    def put(
        self, message: Message, *, is_partial: bool = False, written: Future[None] | None = None
    ) -> None:
        """Have a message sent. In a crowd the newest partial takes the place of all before it.

        It is held until ``written`` is done, and those behind it with it, though not for long.
        """
        if self._is_failed:
            return
        if len(self._waiting) >= CROWDED:
            self._waiting = deque(each for each in self._waiting if not each.is_partial)
        held_until = asyncio.get_running_loop().time() + LONGEST_HELD_S
        self._waiting.append(_Waiting(message, is_partial, written, held_until))
        self._mark()

    async def finish(self) -> None:
        """Send what waits, as far as the peer takes it. Safe to call twice."""
        self._is_ending = True
        self._put.set()
        await asyncio.wait([self._sending])

    def abandon(self) -> None:
        """Send nothing more."""
        self._is_failed = True
        self._waiting.clear()
        self._sending.cancel()

    async def _run(self) -> None:
        while await self._has_more():
            await _hold(self._waiting[0])
            next_one = self._waiting.popleft()
            self._mark()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._send(next_one.message)
            except TimeoutError:
                self._fail([next_one, *self._waiting])
                return
            except (OSError, RuntimeError):
                self._fail([])
                return

    async def _has_more(self) -> bool:
        while not self._waiting and not self._is_ending:
            self._put.clear()
            await self._put.wait()
        return bool(self._waiting)

    def _fail(self, unread: list[_Waiting]) -> None:
        self._is_failed = True
        self._waiting.clear()
        self.has_room.set()
        self._on_failed([each.message for each in unread if not each.is_partial])

    def _mark(self) -> None:
        self._put.set()
        if len(self._waiting) < CROWDED:
            self.has_room.set()
        else:
            self.has_room.clear()


async def _hold(waiting: _Waiting) -> None:
    """Wait for what a message tells to be written, if it is not."""
    if waiting.written is not None and not waiting.written.done():
        left_s = waiting.held_until - asyncio.get_running_loop().time()
        await asyncio.wait([asyncio.wrap_future(waiting.written)], timeout=max(0.0, left_s))
