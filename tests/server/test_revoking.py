"""Taking tokens back, on either store and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stapes.identity.model import Tenancy
from stapes.server import revoking
from stapes.server.revoking import Order, revoke_session, revoke_tag, revoke_user
from stapes.store.memory import MemoryStore
from stapes.store.port import SessionFilter, Store
from stapes.store.records import SessionCreated, StreamClosed, StreamOpened
from stapes.store.sql import open_store
from stapes.tokens.grant import Grant
from stapes.tokens.revocations import date_of_issue

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ORDER = Order("ocid1.user.oc1..me", "t", NOON, timedelta(hours=4))
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else open_store(tmp_path / "db")
    made.write([Tenancy("t", "t"), Tenancy("other", "other")])
    yield made
    made.close()


def created(session_id: str, issued_at: datetime, **changes: object) -> SessionCreated:
    fields: dict[str, object] = {
        "session_id": session_id,
        "tenancy_id": "t",
        "compartment_id": "c",
        "user_id": "u",
        "kid": "k",
        "issued_at": issued_at,
        "expires_at": issued_at + HOUR,
        "claims": {},
        "freeform_tags": {"room": "4"},
    }
    return SessionCreated(**(fields | changes))  # type: ignore[arg-type]


def opened(session_id: str) -> StreamOpened:
    return StreamOpened(session_id, 1, "t", "c", "u", NOON - HOUR, {}, "scripted")


def closed(session_id: str) -> StreamClosed:
    return StreamClosed(session_id, 1, NOON, "peer", 1, 1)


def revoked(store: Store) -> set[str]:
    found = store.sessions(SessionFilter(state="REVOKED"), NOON, limit=10_000)
    return {session.session_id for session in found}


def some_of_each(store: Store) -> None:
    """One that could be used in each way, and some that could not."""
    long_ago = NOON - timedelta(hours=20)
    store.write(
        [
            created("issued", NOON - HOUR / 2),
            created("closed but good", NOON - HOUR / 2),
            opened("closed but good"),
            closed("closed but good"),
            created("live and expired", long_ago),
            opened("live and expired"),
            created("closed and expired", long_ago),
            opened("closed and expired"),
            closed("closed and expired"),
            created("expired", long_ago),
            created("of another value", NOON - HOUR / 2, freeform_tags={"room": "44"}),
            created("without a tag", NOON - HOUR / 2, freeform_tags=None),
            created("elsewhere", NOON - HOUR / 2, compartment_id="d"),
            created("later", NOON + timedelta(seconds=1)),
        ]
    )


USABLE = {"issued", "closed but good", "live and expired"}


def test_a_tag_takes_back_what_could_be_used_in_the_compartments(store: Store) -> None:
    """Live ones though their token expired; none that was issued later."""
    some_of_each(store)
    assert revoke_tag(store, ("room", "4"), frozenset({"c"}), ORDER) == 3
    assert revoked(store) == USABLE


def test_without_compartments_a_tag_takes_back_all_of_them(store: Store) -> None:
    """And each in its own tenancy."""
    some_of_each(store)
    store.write([created("abroad", NOON - HOUR / 2, tenancy_id="other", compartment_id="e")])
    assert revoke_tag(store, ("room", "4"), None, ORDER) == 5
    assert revoked(store) == USABLE | {"elsewhere", "abroad"}


def test_a_user_loses_all_that_could_be_used(store: Store) -> None:
    """Whatever its tag and compartment."""
    some_of_each(store)
    more = {"of another value", "without a tag", "elsewhere"}
    assert revoke_user(store, "t", "u", ORDER) == len(USABLE | more)
    assert revoked(store) == USABLE | more


def test_a_user_who_is_revoked_twice_in_a_second_keeps_nothing(store: Store) -> None:
    """What was minted between the two is dated a second ahead, and covered all the same."""
    for ms, name in ((100, "first"), (300, "second"), (500, "third")):
        at = NOON + timedelta(milliseconds=ms)
        issued_at = date_of_issue(store.revocations(at), "t", "u", at)
        store.write([created(name, issued_at)])
        later = replace(ORDER, at=at + timedelta(milliseconds=100))
        assert revoke_user(store, "t", "u", later) == 1
        token = Grant(name, "t", "c", "u", issued_at.replace(microsecond=0), NOON + HOUR, "jti")
        assert replace(store.revocations(at), sessions=frozenset()).covers(token)
    found = store.sessions(SessionFilter(), NOON, limit=10)
    assert {session.state for session in found} == {"REVOKED"}


@pytest.mark.parametrize(
    ("session_id", "count"),
    [("issued", 1), ("live and expired", 1), ("expired", 0), ("closed and expired", 0)],
)
def test_a_session_counts_when_it_could_be_used(store: Store, session_id: str, count: int) -> None:
    """Once: asked for again it counts no more."""
    some_of_each(store)

    def session() -> object:
        return store.sessions(SessionFilter(session_id=session_id), NOON, limit=1)[0]

    assert revoke_session(store, session(), ORDER) == count  # type: ignore[arg-type]
    assert revoked(store) == {session_id}
    assert revoke_session(store, session(), ORDER) == 0  # type: ignore[arg-type]


def test_many_are_read_in_pages_and_written_in_bounded_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is left out, none is counted twice; every transaction is in the audit log."""
    monkeypatch.setattr(revoking, "PAGE", 7)
    monkeypatch.setattr(revoking, "MOST_AT_ONCE", 10)
    names = [f"s{number:03}" for number in range(35)]
    at = [NOON - timedelta(minutes=number // 3) for number in range(35)]
    store.write([created(name, moment) for name, moment in zip(names, at, strict=True)])
    just_now = Order("a", "t", NOON + timedelta(seconds=1), HOUR)
    assert revoke_tag(store, ("room", "4"), None, just_now) == 35
    assert revoked(store) == set(names)
    rows = store.audit()
    assert [len(row.details["sessions"]) for row in rows] == [10, 10, 10, 5]
    assert {name for row in rows for name in row.details["sessions"]} == set(names)
    assert {(row.action, row.subject, row.details["value"]) for row in rows} == {
        ("tag.revoked", "room", "4")
    }


def test_an_order_that_finds_nothing_is_noted_and_a_second_look_is_not(store: Store) -> None:
    """Somebody ordered it; nobody ordered the second look."""
    assert revoke_tag(store, ("room", "4"), None, ORDER) == 0
    assert revoke_tag(store, ("room", "4"), None, ORDER, is_second_look=True) == 0
    assert [row.details for row in store.audit()] == [{"value": "4", "sessions": []}]
