"""What every store does with the audit log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, timedelta, timezone

import pytest

from stapes.accounts.audit import FIRST, AuditRow, Verdict, check
from stapes.errors import RecordRefusedError
from stapes.store.port import Store
from stapes.store.records import Audited
from tests.contracts.conftest import Opening
from tests.contracts.records import NOON, TENANCY, closed, opened

DETAILS = {"tag": "Ä 7", "until": None, "of": [1, 2.5, {"deep": True}]}


def audited(number: int) -> Audited:
    return Audited(NOON, f"user {number}", "token.minted", "session", "tenancy", DETAILS)


def chained(store: Store, count: int = 5) -> list[AuditRow]:
    store.write([audited(number) for number in range(1, count + 1)])
    return store.audit()


def test_rows_come_back_as_they_were_written(store: Store) -> None:
    """Numbered from 1, with all that the record says."""
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    store.write([replace(audited(1), at=tokyo), Audited(NOON, "local:me", "key.added", "kid")])
    first, second = store.audit()
    assert (first.seq, first.at, first.at.tzinfo) == (1, NOON, UTC)
    assert (first.actor, first.action, first.subject) == ("user 1", "token.minted", "session")
    assert (first.tenancy_id, first.details) == ("tenancy", DETAILS)
    assert (second.seq, second.tenancy_id, second.details) == (2, "", {})
    assert second.previous == first.hash


def test_rows_are_chained_over_batches(store: Store) -> None:
    """Each batch goes on where the last one ended, whatever else is in it."""
    store.write([audited(1), TENANCY, audited(2), opened(), audited(3)])
    store.write([audited(4)])
    rows = store.audit()
    assert [row.actor for row in rows] == ["user 1", "user 2", "user 3", "user 4"]
    assert check(rows) == Verdict(4, rows[-1].hash)


def test_a_refused_batch_leaves_no_row(store: Store) -> None:
    """What did not happen is not in the log, and leaves no gap."""
    store.write([audited(1)])
    with pytest.raises(RecordRefusedError):
        store.write([audited(2), closed()])
    store.write([audited(3)])
    assert [(row.seq, row.actor) for row in store.audit()] == [(1, "user 1"), (2, "user 3")]


def test_the_log_comes_page_by_page(store: Store) -> None:
    """Behind a number, and no more than asked for."""
    rows = chained(store)
    assert store.audit(after=2, limit=2) == rows[2:4]
    assert store.audit(after=4) == rows[4:]
    assert store.audit(after=5) == []
    assert store.audit(limit=0) == []


def test_two_writers_at_once_keep_one_chain(opening: Opening) -> None:
    """Rows of several servers come one after another, each hashed with the one before."""
    stores = [opening() for _ in range(3)]

    def write(store: Store) -> None:
        for number in range(12):
            store.write([audited(number), audited(number)])

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, stores))
    rows = stores[0].audit()
    assert len(rows) == 72
    assert check(rows) == Verdict(72, rows[-1].hash)


def test_the_log_of_a_new_store_is_whole(store: Store) -> None:
    """Nothing is chained to nothing."""
    assert check(store.audit()) == FIRST
