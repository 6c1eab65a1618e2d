"""What is forgotten, and that it is known to have been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from stapes.server.retention import Pruned, prune
from stapes.store.memory import MemoryStore
from stapes.store.port import Store
from stapes.store.records import FinalHeard, SessionCreated, StreamClosed, StreamOpened

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store() -> Iterator[Store]:
    """An old session and a new one, a day apart, with a final each."""
    store = MemoryStore()
    for session_id, at in (("old", NOON - timedelta(days=1)), ("new", NOON)):
        store.write(
            [
                SessionCreated(session_id, "t", "c", "u", "kid", at, at + MINUTE, {}),
                StreamOpened(session_id, 1, "t", "c", "u", at, {}, "scripted"),
                FinalHeard(session_id, 1, 1, "word", 0, 1, 1.0, (), at),
                StreamClosed(session_id, 1, at + MINUTE, "peer", 1000, 500),
            ]
        )
    yield store
    store.close()


def forget(store: Store, transcripts: datetime | None, receipts: datetime | None) -> Pruned:
    return prune(
        store,
        actor="local:ada",
        tenancy_id="t",
        now=NOON,
        transcripts_before=transcripts,
        receipts_before=receipts,
    )


def test_transcripts_go_and_receipts_stay(store: Store) -> None:
    """Those before the moment, and no others."""
    assert forget(store, NOON, None) == Pruned(1, 0)
    assert [len(store.finals(name)) for name in ("old", "new")] == [0, 1]
    assert len(store.streams()) == 2


def test_sessions_take_their_transcripts_along(store: Store) -> None:
    """Their receipts cannot be made any more."""
    assert forget(store, None, NOON) == Pruned(0, 1)
    assert store.finals("old") == []
    assert [stream.session_id for stream in store.streams()] == ["new"]


def test_what_was_forgotten_is_recorded(store: Store) -> None:
    """By whom, and up to when."""
    forget(store, NOON, None)
    (row,) = store.audit()
    assert (row.actor, row.action, row.tenancy_id) == ("local:ada", "store.pruned", "t")
    assert row.details == {"transcriptsBefore": NOON.isoformat()}
