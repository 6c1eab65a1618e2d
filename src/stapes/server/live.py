"""The sockets that are open in this process, and the sessions they hold: one socket each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from stapes.errors import ApiError, GoingAwayError, SessionLiveElsewhereError, TokenRevokedError
from stapes.tokens.grant import Grant
from stapes.tokens.revocations import Revocations

PING_TIMEOUT_S = 2.0


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
            self.leave(other, grant.session_id)
        self._live[grant.session_id] = (session, grant)

    def leave(self, session: LiveSession, session_id: str | None) -> None:
        """The socket is done with, and with it the session it held."""
        self._open.discard(session)
        if session_id is not None and self._live.get(session_id, (None,))[0] is session:
            del self._live[session_id]

    def count(self, is_meant: Callable[[Grant], bool]) -> int:
        """How many live sessions were granted so."""
        return sum(is_meant(grant) for _, grant in self._live.values())

    def grants(self) -> list[Grant]:
        """By which grants sessions are live."""
        return [grant for _, grant in self._live.values()]

    def stop_revoked(self, revocations: Revocations) -> None:
        """End every live session that was taken back."""
        for session, grant in list(self._live.values()):
            if revocations.covers(grant):
                session.stop(TokenRevokedError("revoked while live"))

    async def drain(self) -> None:
        """End every socket, after what it heard is recognised and kept, and wait for them."""
        sessions = list(self._open)
        for session in sessions:
            session.stop(GoingAwayError())
        await asyncio.gather(*(session.ended.wait() for session in sessions))
