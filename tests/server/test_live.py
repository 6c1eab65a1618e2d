"""One session, one live socket."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from starlette.websockets import WebSocket

from stapes.errors import ApiError, SessionLiveElsewhereError, TokenRevokedError
from stapes.protocol.events import DrainRequested, Moved
from stapes.server.live import LiveSessions
from stapes.tokens.revocations import Revocations
from tests.server.grants import NOON, grant


class Socket:
    """A live session that answers pings or not, and ends when it is stopped."""

    def __init__(self, *, answers: bool) -> None:
        self.ended, self.parted = asyncio.Event(), asyncio.Event()
        self.stream: int | None = None
        self.is_resumable = False
        self.told: ApiError | None = None
        self._answers = answers

    def stop(self, error: ApiError) -> None:
        self.told = error
        self.ended.set()
        self.parted.set()

    def post(self, event: DrainRequested | Moved) -> None:
        self.posted = event

    async def is_answering(self, timeout_s: float) -> bool:
        return self._answers

    def lose(self) -> None:
        self._answers = False

    async def adopt(self, websocket: WebSocket, last_result: int) -> None:
        self._answers = True


async def test_a_second_socket_is_refused_while_the_first_answers() -> None:
    """The first one does not notice."""
    live = LiveSessions()
    first, second = Socket(answers=True), Socket(answers=True)
    await live.claim(grant("s"), first)
    with pytest.raises(SessionLiveElsewhereError):
        await live.claim(grant("s"), second)
    live.release(second, "s")
    assert (len(live), first.told) == (1, None)
    live.release(first, "s")
    assert len(live) == 0


async def test_a_first_socket_that_is_gone_gives_way() -> None:
    """It is ended, and the second one holds the session."""
    live = LiveSessions()
    first, second = Socket(answers=False), Socket(answers=True)
    live.enter(first)
    await live.claim(grant("s"), first)
    claiming = asyncio.create_task(live.claim(grant("s"), second))
    await first.ended.wait()
    live.release(first, "s")
    await claiming
    live.release(first, "s")
    assert len(live) == 1


async def test_draining_reaches_sockets_without_a_session() -> None:
    """Also those that have not authenticated yet."""
    live = LiveSessions()
    socket = Socket(answers=True)
    live.enter(socket)
    await live.drain(0)
    assert socket.told is not None


async def test_draining_waits_until_peers_know() -> None:
    """An end that is recorded is not enough: the server would close the socket without a word."""
    live = LiveSessions()
    socket = Socket(answers=True)
    live.enter(socket)
    draining = asyncio.create_task(live.drain(60))
    socket.ended.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not draining.done()
    socket.parted.set()
    await draining
    live.leave(socket)
    await live.drain(60)


async def test_the_revoked_are_told_and_nobody_else() -> None:
    """By session or by user; those that were granted later stay."""
    live = LiveSessions()
    sockets = {name: Socket(answers=True) for name in ("s", "mine", "later", "theirs")}
    await live.claim(grant("s", user_id="other"), sockets["s"])
    await live.claim(grant("mine"), sockets["mine"])
    await live.claim(grant("later", issued_at=NOON + timedelta(seconds=1)), sockets["later"])
    await live.claim(grant("theirs", user_id="other"), sockets["theirs"])

    live.stop_revoked(Revocations(frozenset({("t", "s")}), {("t", "u"): NOON}).covers)

    told = {name for name, socket in sockets.items() if socket.told is not None}
    assert told == {"s", "mine"}
    assert isinstance(sockets["s"].told, TokenRevokedError)


async def test_live_sessions_are_counted_by_grant() -> None:
    """And no longer once they have left."""
    live = LiveSessions()
    one, other = Socket(answers=True), Socket(answers=True)
    await live.claim(grant("one"), one)
    await live.claim(grant("other", user_id="v"), other)
    assert live.count(lambda it: it.user_id == "u") == 1
    assert live.count(lambda it: it.tenancy_id == "t") == 2
    live.release(one, "one")
    assert live.count(lambda it: it.user_id == "u") == 0
