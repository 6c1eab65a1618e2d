"""The sockets that are open in this process, and the sessions they hold: one socket each."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from stapes.errors import ApiError, GoingAwayError, SessionLiveElsewhereError

PING_TIMEOUT_S = 2.0
REMEMBERED_SESSIONS = 10_000


class LiveSession(Protocol):
    """What the registry needs of a live session."""

    ended: asyncio.Event

    def stop(self, error: ApiError) -> None:
        """End it, with what the peer is told."""
        ...

    async def is_answering(self, timeout_s: float) -> bool:
        """Whether its peer still answers."""
        ...


class LiveSessions:
    """Who is live, by session id, and how many streams each recent session has had."""

    def __init__(self) -> None:
        self._open: set[LiveSession] = set()
        self._live: dict[str, LiveSession] = {}
        self._streams: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live)

    def enter(self, session: LiveSession) -> None:
        """A socket opened; it has no session id yet."""
        self._open.add(session)

    async def claim(self, session_id: str, session: LiveSession) -> None:
        """Make ``session`` the one live socket of its id.

        A socket that holds the id already keeps it if its peer answers a ping within 2 s:
        then `SessionLiveElsewhereError`. Otherwise it is ended and the new one takes its place.
        """
        while (other := self._live.get(session_id)) is not None:
            if await other.is_answering(PING_TIMEOUT_S):
                raise SessionLiveElsewhereError()
            other.stop(SessionLiveElsewhereError())
            await other.ended.wait()
            self.leave(other, session_id)
        self._live[session_id] = session

    def leave(self, session: LiveSession, session_id: str | None) -> None:
        """The socket is done with, and with it the session it held."""
        self._open.discard(session)
        if session_id is not None and self._live.get(session_id) is session:
            del self._live[session_id]

    def next_stream(self, session_id: str, stored: int) -> int:
        """Number of the stream that opens now; ``stored`` is the newest one in the store."""
        number = max(stored, self._streams.get(session_id, 0)) + 1
        self._streams[session_id] = number
        self._streams.move_to_end(session_id)
        if len(self._streams) > REMEMBERED_SESSIONS:
            self._streams.popitem(last=False)
        return number

    async def drain(self) -> None:
        """End every socket, after what it heard is recognised and kept, and wait for them."""
        sessions = list(self._open)
        for session in sessions:
            session.stop(GoingAwayError())
        await asyncio.gather(*(session.ended.wait() for session in sessions))
