"""Forget what was kept long enough: transcripts by themselves, and sessions with their receipts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stapes.store.port import Store
from stapes.store.records import Audited


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was deleted."""

    finals: int
    sessions: int


def prune(
    store: Store,
    *,
    actor: str,
    tenancy_id: str,
    now: datetime,
    transcripts_before: datetime | None,
    receipts_before: datetime | None,
) -> Pruned:
    """Delete finals heard, and sessions that ended, before a moment; None keeps them all.

    A session takes its transcript along. Raises `stapes.errors.StoreError`.
    """
    moments = {"transcriptsBefore": transcripts_before, "receiptsBefore": receipts_before}
    details = {name: moment.isoformat() for name, moment in moments.items() if moment is not None}
    # Recorded first: whatever cuts this off, nothing is gone without a trace.
    store.write([Audited(now, actor, "store.pruned", tenancy_id, tenancy_id, details)])
    finals = 0 if transcripts_before is None else store.forget_finals_before(transcripts_before)
    sessions = 0 if receipts_before is None else store.forget_sessions_before(receipts_before)
    return Pruned(finals, sessions)
