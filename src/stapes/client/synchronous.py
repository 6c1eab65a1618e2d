"""`connect_sync`: sessions for programs without an event loop; one runs in a thread behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from typing import ParamSpec

from anyio.from_thread import BlockingPortal, start_blocking_portal

from stapes.client.connecting import connect
from stapes.client.results import Final, Result
from stapes.client.session import Session

_P = ParamSpec("_P")


class SyncSession:
    """A `Session` whose methods wait; they may be called from several threads."""

    def __init__(self, session: Session, portal: BlockingPortal) -> None:
        self._session = session
        self._portal = portal

    @property
    def session_id(self) -> str:
        """The server's name for the session."""
        return self._session.session_id

    @property
    def finals(self) -> tuple[Final, ...]:
        """The finals so far; empty ones are left out."""
        return self._session.finals

    @property
    def transcript(self) -> str:
        """The text of the finals so far."""
        return self._session.transcript

    def send(self, audio: bytes) -> None:
        """As `Session.send`."""
        self._portal.call(self._session.send, audio)

    def drain(self) -> None:
        """As `Session.drain`."""
        self._portal.call(self._session.drain)

    def finalize(self) -> None:
        """As `Session.finalize`."""
        self._portal.call(self._session.finalize)

    def finish(self) -> None:
        """As `Session.finish`."""
        self._portal.call(self._session.finish)

    def __iter__(self) -> Iterator[Result]:
        """Results until the session has ended; raises as iteration over a `Session` does."""
        while (result := self._portal.call(self._session.next_result)) is not None:
            yield result


def _synchronous(
    opening: Callable[_P, AbstractAsyncContextManager[Session]],
) -> Callable[_P, AbstractContextManager[SyncSession]]:
    @contextmanager
    def connect_sync(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[SyncSession]:
        """Open a session as `connect` does, for ``with`` in place of ``async with``."""
        with (
            start_blocking_portal(name="stapes") as portal,
            portal.wrap_async_context_manager(opening(*args, **kwargs)) as session,
        ):
            yield SyncSession(session, portal)

    return connect_sync


connect_sync = _synchronous(connect)
