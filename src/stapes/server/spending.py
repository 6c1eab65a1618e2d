"""What a session has spent of its token's limits: those of time and audio are for all its streams.

A token that is not for a single use opens its session again and again; what its earlier streams
had counts for the next one, on whatever server they were.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from stapes.errors import SessionLimitError, StoreError
from stapes.server.accounting import unrecordable
from stapes.server.deployment import Deployment
from stapes.server.revoking import FLUSH_TIMEOUT_S
from stapes.server.sessions import streams_of
from stapes.tokens.grant import Grant


class Spent(NamedTuple):
    """How much audio and time streams had, ms."""

    audio_ms: int = 0
    wall_ms: int = 0


async def spent_before(deployment: Deployment, grant: Grant, stream: int) -> Spent:
    """What streams before this one spent of limits that the token has; nothing where it has none.

    Raises `SessionLimitError` when nothing is left, `stapes.errors.ServiceUnavailableError` when
    the store cannot say.
    """
    limits = grant.limits
    if stream == 1 or limits is None or not (limits.max_audio_s or limits.max_session_s):
        return Spent()
    try:
        spent = await asyncio.to_thread(_read, deployment, grant.session_id, stream)
    except StoreError as error:
        raise unrecordable(error) from error
    for limit_s, spent_ms in (
        (limits.max_audio_s, spent.audio_ms),
        (limits.max_session_s, spent.wall_ms),
    ):
        if limit_s and spent_ms >= limit_s * 1000:
            raise SessionLimitError(f"{grant.session_id} spent its {limit_s} s before")
    return spent


def _read(deployment: Deployment, session_id: str, stream: int) -> Spent:
    deployment.writer.flush(FLUSH_TIMEOUT_S)  # the end of the last one may be on its way
    before = [it for it in streams_of(deployment.store, session_id) if it.stream < stream]
    return Spent(sum(it.audio_ms for it in before), sum(it.wall_ms for it in before))
