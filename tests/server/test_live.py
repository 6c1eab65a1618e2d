"""One session, one live socket."""

from __future__ import annotations

import asyncio

import pytest

from stapes.errors import ApiError, SessionLiveElsewhereError
from stapes.server.live import LiveSessions


class Socket:
    """A live session that answers pings or not, and ends when it is stopped."""

    def __init__(self, *, answers: bool) -> None:
        self.ended = asyncio.Event()
        self.told: ApiError | None = None
        self._answers = answers

    def stop(self, error: ApiError) -> None:
        self.told = error
        self.ended.set()

    async def is_answering(self, timeout_s: float) -> bool:
        return self._answers


async def test_a_second_socket_is_refused_while_the_first_answers() -> None:
    """The first one does not notice."""
    live = LiveSessions()
    first, second = Socket(answers=True), Socket(answers=True)
    await live.claim("s", first)
    with pytest.raises(SessionLiveElsewhereError):
        await live.claim("s", second)
    live.leave(second, "s")
    assert (len(live), first.told) == (1, None)
    live.leave(first, "s")
    assert len(live) == 0


async def test_a_first_socket_that_is_gone_gives_way() -> None:
    """It is ended, and the second one holds the session."""
    live = LiveSessions()
    first, second = Socket(answers=False), Socket(answers=True)
    live.enter(first)
    await live.claim("s", first)
    claiming = asyncio.create_task(live.claim("s", second))
    await first.ended.wait()
    live.leave(first, "s")
    await claiming
    live.leave(first, "s")
    assert len(live) == 1


async def test_draining_reaches_sockets_without_a_session() -> None:
    """Also those that have not authenticated yet."""
    live = LiveSessions()
    socket = Socket(answers=True)
    live.enter(socket)
    await live.drain()
    assert socket.told is not None


def test_streams_are_numbered_from_what_is_stored_and_what_is_newer() -> None:
    """The store may lag behind; the memory may have been lost."""
    live = LiveSessions()
    assert live.next_stream("s", stored=0) == 1
    assert live.next_stream("s", stored=0) == 2
    assert live.next_stream("s", stored=5) == 6
    assert live.next_stream("other", stored=0) == 1
