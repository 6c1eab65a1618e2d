"""The sockets that are open in this process, and the sessions they hold: one socket each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Protocol

from starlette.websockets import WebSocket

from stapes.errors import ApiError, GoingAwayError, SessionLiveElsewhereError, TokenRevokedError
from stapes.protocol.events import DrainRequested, Moved
from stapes.store.records import StreamKey
from stapes.tokens.grant import Grant

PING_TIMEOUT_S = 2.0


class LiveSession(Protocol):
    """What the registry needs of a live session.

    Attributes:
        ended: set when no more is heard of it, and all that was is recorded.
        parted: set when its peer, too, has been told.
    """

    ended: asyncio.Event
    parted: asyncio.Event

    @property
    def stream(self) -> int | None:
        """The number of its stream, once it has one."""
        ...

    @property
    def is_resumable(self) -> bool:
        """Whether its peer could go on with its stream on another socket."""
        ...

    def stop(self, error: ApiError) -> None:
        """End it, with what the peer is told."""
        ...

    def post(self, event: DrainRequested | Moved) -> None:
        """Tell it what the server is about to do."""
        ...

    async def is_answering(self, timeout_s: float) -> bool:
        """Whether its peer still answers."""
        ...

    def lose(self) -> None:
        """Its peer does not answer: wait for it on another socket."""
        ...

    async def adopt(self, websocket: WebSocket, last_result: int) -> None:
        """Go on on another socket, whose peer has the finals up to ``last_result``."""
        ...


class LiveSessions:
    """Who is live, by session id, and by whose grant."""

    def __init__(self) -> None:
        self._open: set[LiveSession] = set()
        self._live: dict[str, tuple[LiveSession, Grant]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def enter(self, session: LiveSession) -> None:
        """A socket opened; it has no session id yet."""
        self._open.add(session)

    async def claim(self, grant: Grant, session: LiveSession) -> None:
        """Make ``session`` the one live socket of the grant's session.

        A socket that holds the id already keeps it if its peer answers a ping within 2 s:
        then `SessionLiveElsewhereError`. Otherwise it is ended and the new one takes its place.
        """
        while (held := self._live.get(grant.session_id)) is not None:
            other, _ = held
            if await other.is_answering(PING_TIMEOUT_S):
                raise SessionLiveElsewhereError()
            other.stop(SessionLiveElsewhereError())
            await other.ended.wait()
            self.release(other, grant.session_id)
        self._live[grant.session_id] = (session, grant)

    def release(self, session: LiveSession, session_id: str) -> None:
        """The session it held may be held by another socket."""
        if self._live.get(session_id, (None,))[0] is session:
            del self._live[session_id]

    def leave(self, session: LiveSession) -> None:
        """The socket is done with."""
        self._open.discard(session)

    def find(self, session_id: str) -> tuple[LiveSession, Grant] | None:
        """Who holds a session here, and by which grant."""
        return self._live.get(session_id)

    def count(self, is_meant: Callable[[Grant], bool]) -> int:
        """How many live sessions were granted so."""
        return sum(is_meant(grant) for _, grant in self._live.values())

    def grants(self) -> list[Grant]:
        """By which grants sessions are live."""
        return [grant for _, grant in self._live.values()]

    def stop_revoked(self, is_revoked: Callable[[Grant], bool]) -> None:
        """End every live session that was taken back."""
        for session, grant in list(self._live.values()):
            if is_revoked(grant):
                session.stop(TokenRevokedError("revoked while live"))

    def take_away(self, streams: Collection[StreamKey]) -> None:
        """Let go of streams that go on elsewhere."""
        for session_id, stream in streams:
            session, _ = self._live.get(session_id, (None, None))
            if session is None or session.stream != stream:
                continue
            if session.is_resumable:
                session.post(Moved())
            else:
                session.stop(SessionLiveElsewhereError())

    def streams(self) -> list[StreamKey]:
        """The streams that are served here."""
        numbers = ((session.stream, id_) for id_, (session, _) in self._live.items())
        return [(session_id, number) for number, session_id in numbers if number is not None]

    def send_away(self, within_s: float) -> None:
        """Tell peers that can go on elsewhere to do so."""
        for session in list(self._open):
            session.post(DrainRequested(int(within_s * 1000)))

    async def drain(self, window_s: float) -> None:
        """Let sessions go on for a window, then end those that are left.

        What was heard is recognised and kept. Returns when all have ended and their peers know.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(window_s):
                await self._parted()
        for session in list(self._open):
            session.stop(GoingAwayError())
        await self._parted()

    async def _parted(self) -> None:
        await asyncio.gather(*(session.parted.wait() for session in list(self._open)))
