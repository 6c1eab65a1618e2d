"""Sessions of the store as a caller may see them: found, or not there for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeVar

from stapes.accounts import receipts
from stapes.errors import NotAuthorizedOrNotFoundError, SessionOpenError, StoreError
from stapes.identity.access import allowed, compartments_for, require
from stapes.identity.model import Directory, Verb
from stapes.identity.ocid import is_ocid
from stapes.server.authentication import Caller
from stapes.server.deployment import Deployment
from stapes.server.revoking import FLUSH_TIMEOUT_S, unreachable
from stapes.store.port import SessionFilter, SessionSummary, Store, StreamSummary
from stapes.tokens.keys import SigningKey

EVERY = 1_000_000
"""More streams than a session can have had."""

T = TypeVar("T")


async def ask(deployment: Deployment, question: Callable[[Store], T]) -> T:
    """What the store answers, with all that this server has put into it so far.

    Raises `stapes.errors.ServiceUnavailableError` when it cannot be asked.
    """

    def settled() -> T:
        deployment.writer.flush(FLUSH_TIMEOUT_S)
        return question(deployment.store)

    try:
        return await asyncio.to_thread(settled)
    except StoreError as error:
        raise unreachable(error) from error


async def find(
    deployment: Deployment, caller: Caller, verb: Verb, session_id: str
) -> SessionSummary:
    """The session of an id, for a caller who may do this with it.

    Raises `NotAuthorizedOrNotFoundError` else, and for whatever is no id of a session: the store
    is not asked then.
    """
    if not is_ocid(session_id, "aispeechrealtimesession"):
        raise NotAuthorizedOrNotFoundError(f"no id of a session: {session_id!r:.100}")
    now = datetime.now(UTC)
    this = SessionFilter(session_id=session_id)
    found = await ask(deployment, lambda store: store.sessions(this, now, limit=1))
    if not found or found[0].tenancy_id != caller.tenancy_id:
        raise NotAuthorizedOrNotFoundError(f"no session {session_id} for {caller.user_id}")
    directory = deployment.known.directory
    require(directory, caller.user_id, verb, _place(directory, found[0]))
    return found[0]


def _place(directory: Directory, session: SessionSummary) -> str:
    """The compartment whose policies cover a session: the root, when its own is gone."""
    is_there = session.compartment_id in directory.compartments
    return session.compartment_id if is_there else session.tenancy_id


def reach(deployment: Deployment, caller: Caller, verb: Verb) -> frozenset[str] | None:
    """The compartments in which a caller may do this; None: the whole of their tenancy.

    That is more than all its compartments: sessions outlast the one they were of. Raises
    `NotAuthorizedOrNotFoundError` when there is none.
    """
    directory = deployment.known.directory
    if allowed(directory, caller.user_id, verb, caller.tenancy_id):
        return None
    places = compartments_for(directory, caller.user_id, verb)
    if not places:
        raise NotAuthorizedOrNotFoundError(f"{caller.user_id} may {verb} nothing")
    return places


def require_root(deployment: Deployment, caller: Caller, verb: Verb) -> None:
    """Raise `NotAuthorizedOrNotFoundError` unless the caller may do this in the whole tenancy."""
    require(deployment.known.directory, caller.user_id, verb, caller.tenancy_id)


async def require_user(deployment: Deployment, caller: Caller, user_id: str) -> None:
    """Raise `NotAuthorizedOrNotFoundError` unless it is a user of the caller's own tenancy.

    One who was removed counts as long as there are sessions of theirs.
    """
    user = deployment.known.directory.users.get(user_id)
    if user is None and is_ocid(user_id, "user"):
        theirs = SessionFilter(user_id=user_id)
        now = datetime.now(UTC)
        found = await ask(deployment, lambda store: store.sessions(theirs, now, limit=1))
        tenancy_id = found[0].tenancy_id if found else None
    else:
        tenancy_id = user.tenancy_id if user else None
    if tenancy_id != caller.tenancy_id:
        raise NotAuthorizedOrNotFoundError(f"no user {user_id!r:.100} for {caller.user_id}")


def streams_of(store: Store, session_id: str) -> list[StreamSummary]:
    """All streams of a session, the first one first."""
    return sorted(store.streams(limit=EVERY, session_id=session_id), key=attrgetter("stream"))


def receipt(
    session: SessionSummary, streams: list[StreamSummary], issuer: str, key: SigningKey
) -> dict[str, object]:
    """The signed receipt of a session. Raises `SessionOpenError` while a stream is open."""
    return receipts.sign(
        receipts.receipt(
            session_id=session.session_id,
            tenancy_id=session.tenancy_id,
            compartment_id=session.compartment_id,
            user_id=session.user_id,
            issuer=issuer,
            freeform_tags=session.freeform_tags,
            defined_tags=session.defined_tags,
            streams=[_use(stream) for stream in streams],
        ),
        key,
    )


def _use(stream: StreamSummary) -> receipts.StreamUse:
    if stream.closed_at is None or stream.reason is None:
        raise SessionOpenError(f"stream {stream.stream} of {stream.session_id} is open")
    return receipts.StreamUse(
        stream=stream.stream,
        engine=stream.engine,
        opened_at=stream.opened_at,
        closed_at=stream.closed_at,
        ended_by=stream.reason,
        audio_ms=stream.audio_ms,
        speech_ms=stream.speech_ms,
        wall_ms=stream.wall_ms,
        words=stream.words,
    )
