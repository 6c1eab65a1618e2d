"""Going on with a stream on another socket, in this process or one that another has left.

A client of the extension asks for it in the query of its upgrade. The stream it means waits here
for its peer, or its last final is in the store with all that is needed to continue behind it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

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
from stapes.store.port import Contest
from stapes.store.records import StreamOpened
from stapes.tokens.grant import Grant

SETTLED_S = 0.2
"""A server that has just been left may still be writing a final down."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which session a client wants to go on with, and the number of the last final it has."""

    session_id: str
    last_result: int


@dataclass(frozen=True, slots=True)
class Continued:
    """A stream taken over from the store."""

    account: StreamAccount
    past: Past
    opened: StreamOpened


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
    newest = store.streams(limit=1, session_id=wish.session_id)
    if not newest:
        raise NotAuthorizedOrNotFoundError("there is no such stream")
    (summary,) = newest
    asks = (grant.tenancy_id, grant.compartment_id, grant.user_id)
    if asks != (summary.tenancy_id, summary.compartment_id, summary.user_id):
        raise NotAuthorizedOrNotFoundError("the stream is another's")
    ended_since = datetime.now(UTC) - timedelta(seconds=window_s)
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
    )
    own = replace(grant, session_id=wish.session_id)
    return Continued(StreamAccount(deployment, own, opened.stream, point), past, opened)
