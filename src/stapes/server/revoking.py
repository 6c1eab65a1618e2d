"""Taking tokens back: of one session, of a user, of every session with a tag.

What is taken back is in the store when these return; new sockets are refused from then on. The
functions that take a `stapes.store.port.Store` need no server. `heed` makes one obey at once;
every other server of the database does within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from stapes.errors import HomeError, ServiceUnavailableError, StoreError
from stapes.server import known
from stapes.store.port import Place, SessionFilter, SessionSummary, Store
from stapes.store.records import Audited, Revoked
from stapes.tokens.revocations import LONGEST_TOKEN, first_uncovered

if TYPE_CHECKING:
    from stapes.server.deployment import Deployment

PAGE = 500
MOST_AT_ONCE = 500
"""Sessions that one transaction takes back; others write too."""

FLUSH_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 1.0
"""Tokens that other servers mint are in the store well before this."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """Who takes back, and when.

    Attributes:
        actor: a user's OCID, or ``local:NAME``.
        tenancy_id: of the actor; empty for somebody at the machine.
        longest_session: a session that is older than this and a token's life is not live.
    """

    actor: str
    tenancy_id: str
    at: datetime
    longest_session: timedelta

    @property
    def since(self) -> datetime:
        """No session that was issued before could still be used."""
        return self.at - LONGEST_TOKEN - self.longest_session

    def audited(self, action: str, subject: str, **details: object) -> Audited:
        """The order as a row of the audit log."""
        return Audited(self.at, self.actor, action, subject, self.tenancy_id, details)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """How many sessions could still be used and cannot any more; how many were live here."""

    sessions: int
    live: int


def revoke_session(store: Store, session: SessionSummary, order: Order) -> int:
    """Take one session back; 1 if it could still be used, else 0."""
    revoked = Revoked(session.tenancy_id, "session", session.session_id, order.at)
    store.write([revoked, order.audited("session.revoked", session.session_id)])
    return int(_could_be_used(session, order.at))


def revoke_user(store: Store, tenancy_id: str, user_id: str, order: Order) -> int:
    """Take back all that a user holds now; returns how many sessions could still be used.

    A token that was minted in the second of the revocation before, after it, is dated a second
    ahead: then so is this revocation, or it would not cover that token.
    """
    before = store.revocations(order.at).users.get((tenancy_id, user_id), order.since)
    at = max(order.at, first_uncovered(before))
    store.write([Revoked(tenancy_id, "user", user_id, at), order.audited("user.revoked", user_id)])
    # Counted afterwards: the count may take a while, and nobody is to use a token meanwhile.
    chosen = SessionFilter(user_id=user_id, state="REVOKED", issued_from=order.since)
    return sum(session.revoked_at == at for session in _pages(store, chosen, order.at))


def revoke_tag(
    store: Store,
    tag: tuple[str, str],
    compartment_ids: frozenset[str] | None,
    order: Order,
    *,
    tenancy_id: str | None = None,
    is_second_look: bool = False,
) -> int:
    """Take back every session of some compartments, and of a tenancy, that has a free-form tag.

    None stands for all of them.

    Returns how many. Sessions of the tag that are issued later are left alone. A second look is
    noted in the audit log only when it found something.
    """
    chosen = SessionFilter(
        compartment_ids,
        tag=tag,
        issued_from=order.since,
        issued_before=order.at,
        tenancy_id=tenancy_id,
    )
    found = [
        Revoked(session.tenancy_id, "session", session.session_id, order.at)
        for session in _pages(store, chosen, order.at)
        if _could_be_used(session, order.at)
    ]
    if is_second_look and not found:
        return 0
    key, value = tag
    for start in range(0, max(len(found), 1), MOST_AT_ONCE):
        some = found[start : start + MOST_AT_ONCE]
        ids = [revoked.subject for revoked in some]
        store.write([*some, order.audited("tag.revoked", key, value=value, sessions=ids)])
    return len(found)


def _pages(store: Store, chosen: SessionFilter, now: datetime) -> Iterator[SessionSummary]:
    after: Place | None = None
    while page := store.sessions(chosen, now, limit=PAGE, after=after):
        yield from page
        after = (page[-1].issued_at, page[-1].session_id)


def _could_be_used(session: SessionSummary, now: datetime) -> bool:
    """Whether it is live, or its token may open it once more."""
    if session.state in {"REVOKED", "EXPIRED"}:
        return False
    return session.state == "LIVE" or now < session.expires_at


# On a running server


async def carry_out(deployment: Deployment, work: Callable[[Store], int]) -> TakenBack:
    """Revoke on a server: live sockets of its own are being closed when this returns.

    ``work`` is one of the functions above; it runs in a thread. Raises `ServiceUnavailableError`
    when the store does not take it: then it may have been done or not, and can be asked again.
    """
    live = deployment.live.grants()
    before = deployment.known.revocations
    try:
        sessions = await asyncio.to_thread(_settle_and, deployment, work)
        await known.look(deployment)
    except (StoreError, HomeError) as error:
        raise unreachable(error) from error
    now = deployment.known.revocations
    taken = TakenBack(sessions, sum(now.covers(it) and not before.covers(it) for it in live))
    log.info("revoked", sessions=taken.sessions, live=taken.live)
    return taken


def _settle_and(deployment: Deployment, work: Callable[[Store], int]) -> int:
    """A token that was just minted is still on its way to the store: it is waited for."""
    deployment.writer.flush(FLUSH_TIMEOUT_S)
    return work(deployment.store)


def look_again(deployment: Deployment, work: Callable[[Store], int]) -> None:
    """Do ``work`` once more, a moment later: another server's tokens come into the store late."""

    async def again() -> None:
        await asyncio.sleep(LOOK_AGAIN_S)
        try:
            await carry_out(deployment, work)
        except ServiceUnavailableError as error:
            log.error("second_look_failed", cause=error.detail)

    deployment.begin(again())


def unreachable(error: Exception) -> ServiceUnavailableError:
    """What a caller is told when the store cannot be asked."""
    public = "The database cannot be reached right now; try again later."
    return ServiceUnavailableError(str(error), public=public)
