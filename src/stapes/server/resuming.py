"""Going on with a stream on another socket, in this process or one that another has left.

A client of the extension asks for it in the query of its upgrade. The stream it means waits here
for its peer, or its last final is in the store with all that is needed to continue behind it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from stapes.errors import (
    InvalidParameterError,
    NotAuthorizedOrNotFoundError,
    StoreError,
)
from stapes.protocol.events import Checkpoint, Past
from stapes.protocol.params import split_query
from stapes.server.accounting import StreamAccount, from_json, unrecordable
from stapes.server.contests import win
from stapes.server.deployment import Deployment
from stapes.server.revoking import FLUSH_TIMEOUT_S
from stapes.store.port import Contest, StreamSummary
from stapes.store.records import StreamClosed, StreamOpened
from stapes.tokens.grant import Grant

SETTLED_S = 0.2
"""A server that has just been left may still be writing a final down."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which session a client wants to go on with, and the number of the last final it has."""

    session_id: str
    last_result: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A stream taken over from the store; ``ended`` is how it had ended before."""

    account: StreamAccount
    past: Past
    opened: StreamOpened
    ended: StreamClosed


def parse_wish(query: str) -> Wish | None:
    """What the query asks for; None when it asks for nothing.

    Raises `InvalidParameterError` for a ``lastResult`` that is no number.
    """
    given = split_query(query)
    if "resume" not in given:
        return None
    text = given.get("lastResult", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidParameterError("lastResult must be a whole number from 0.")
    return Wish(given["resume"], int(text))


async def take_over(deployment: Deployment, grant: Grant, wish: Wish) -> Continued:
    """Take a stream over that no process serves any more, or that another one is leaving.

    Raises `NotAuthorizedOrNotFoundError` when there is none that can be continued for this grant,
    `stapes.errors.SessionLiveElsewhereError` when its peer is still there, and
    `stapes.errors.ServiceUnavailableError` when the store cannot say.
    """
    await asyncio.sleep(SETTLED_S)
    try:
        taken = await asyncio.to_thread(_take_over, deployment, grant, wish)
        while isinstance(taken, Contest):
            await win(deployment, taken)
            taken = await asyncio.to_thread(_take_over, deployment, grant, wish, taken)
    except StoreError as error:
        raise unrecordable(error) from error
    return taken


def _take_over(
    deployment: Deployment, grant: Grant, wish: Wish, won: Contest | None = None
) -> Continued | Contest:
    store, window_s = deployment.store, deployment.settings.resume_window_s
    deployment.writer.flush(FLUSH_TIMEOUT_S)  # its end may be on its way
    newest = store.streams(limit=1, session_id=wish.session_id)
    if not newest:
        raise NotAuthorizedOrNotFoundError("there is no such stream")
    (summary,) = newest
    asks = (grant.tenancy_id, grant.compartment_id, grant.user_id)
    if asks != (summary.tenancy_id, summary.compartment_id, summary.user_id):
        raise NotAuthorizedOrNotFoundError("the stream is another's")
    now = datetime.now(UTC)
    ended_since = now - timedelta(seconds=window_s)
    found = store.continue_stream(wish.session_id, deployment.server_id, ended_since, won=won)
    if found is None:
        raise NotAuthorizedOrNotFoundError("the stream cannot be continued")
    if isinstance(found, Contest):
        return found
    opened, point = found
    past = Past(
        finals=tuple(from_json(each) for each in point.finals),
        finals_sent=point.finals_sent,
        checkpoint=Checkpoint(point.audio_bytes, point.state),
        speech_ms=point.speech_ms,
        last_result=wish.last_result,
        age_ms=max(0, (now - opened.opened_at) // timedelta(milliseconds=1)),
    )
    own = replace(grant, session_id=wish.session_id)
    account = StreamAccount(deployment, own, opened.stream, point)
    return Continued(account, past, opened, _end(deployment, summary, now))


def give_back(deployment: Deployment, continued: Continued) -> None:
    """A stream that was taken over, and is not gone on with, has ended as it had before.

    Its peer may ask for it again, here or elsewhere.
    """
    try:
        deployment.writer.put(continued.ended)
    except StoreError as error:
        log.error("stream_not_given_back", session=continued.ended.session_id, cause=str(error))


def _end(deployment: Deployment, summary: StreamSummary, now: datetime) -> StreamClosed:
    """How a stream had ended; one whose server never said so was lost."""
    return StreamClosed(
        summary.session_id,
        summary.stream,
        closed_at=summary.closed_at or now,
        reason=summary.reason or "lost",
        audio_ms=summary.audio_ms,
        speech_ms=summary.speech_ms,
        wall_ms=summary.wall_ms,
        words=summary.words,
        server_id=deployment.server_id,
    )
