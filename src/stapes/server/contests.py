"""One live socket of a session among all servers of a database.

A server that is asked for a session whose stream is open on another one contests it in the store.
The other looks there several times a second: it refuses when its own peer answers a ping, and else
lets go. One that does neither in time is taken for dead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

import structlog

from stapes.errors import SessionLiveElsewhereError, StoreError
from stapes.protocol.events import Moved
from stapes.server.live import PING_TIMEOUT_S, LiveSession
from stapes.store.port import Contest

if TYPE_CHECKING:
    from stapes.server.deployment import Deployment

ANSWERED_WITHIN_S = PING_TIMEOUT_S + 1.0
"""A server that lives looks, pings and answers by then; should it have been slow, it lets go as
soon as it sees that the session went on elsewhere."""

POLL_S = 0.05

log = structlog.get_logger(__name__)


async def win(deployment: Deployment, contest: Contest) -> None:
    """Have the server that holds a stream let go of it.

    Raises `SessionLiveElsewhereError` when the peer there still answers, and `StoreError`.
    """
    store = deployment.store
    await asyncio.to_thread(store.contest, contest)
    deadline = time.monotonic() + ANSWERED_WITHIN_S
    while time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        is_won = await asyncio.to_thread(store.contest_result, contest)
        if is_won is False:
            raise SessionLiveElsewhereError()
        if is_won:
            return
    log.warning("server_silent", server=contest.server_id, session=contest.session_id)


def answer_all(deployment: Deployment, contests: Collection[Contest]) -> None:
    """Answer for the streams that are served here and wanted elsewhere, beside everything else."""
    for contest in contests:
        held = deployment.live.find(contest.session_id)
        is_new = contest not in deployment.contested
        # One that is not held here has ended, and its end is about to be written.
        if held is not None and held[0].stream == contest.stream and is_new:
            deployment.contested.add(contest)
            deployment.begin(_answer(deployment, contest, held[0]))


async def _answer(deployment: Deployment, contest: Contest, session: LiveSession) -> None:
    try:
        if await session.is_answering(PING_TIMEOUT_S):
            await asyncio.to_thread(deployment.store.refuse_contest, contest)
            return
        if contest.resumes and session.is_resumable:
            session.post(Moved())
        else:
            session.stop(SessionLiveElsewhereError())
        await session.ended.wait()
    except StoreError as error:  # the other will ask again, or take this server for dead
        log.error("contest_unanswered", session=contest.session_id, cause=str(error))
    finally:
        deployment.contested.discard(contest)
