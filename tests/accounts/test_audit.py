"""What the check of the audit chain finds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stapes.accounts.audit import FIRST, FIRST_PREVIOUS, AuditRow, Verdict, check, digest

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def chain(count: int = 5, subject: str = "session") -> list[AuditRow]:
    """A whole chain."""
    rows: list[AuditRow] = []
    for seq in range(1, count + 1):
        values: dict[str, Any] = {
            "seq": seq,
            "at": NOON,
            "actor": "user",
            "action": "token.minted",
            "subject": subject,
            "tenancy_id": "tenancy",
            "details": {"b": 1, "a": ["ä"]},
            "previous": rows[-1].hash if rows else FIRST_PREVIOUS,
        }
        rows.append(AuditRow(**values, hash=digest(**values)))
    return rows


def rehashed(row: AuditRow, **changes: Any) -> AuditRow:
    """A row with other values and the hash that fits them."""
    values = {name: getattr(row, name) for name in row.__slots__ if name != "hash"} | changes
    return AuditRow(**values, hash=digest(**values))


def test_a_whole_chain_has_a_head() -> None:
    """The verdict is the last row's number and hash."""
    rows = chain()
    assert check(rows) == Verdict(5, rows[-1].hash)
    assert check([]) == FIRST


@pytest.mark.parametrize(
    "actor", ["local:zoé", '\x00\x1f\b\t\\"/', "\x7f", "\u2028", "\ud800", "🔑"]
)
def test_a_hash_is_that_of_json_in_ascii(actor: str) -> None:
    """Whatever is in a row, and whichever way it is spelled."""
    row = rehashed(chain(1)[0], actor=actor, details={})
    array = [1, NOON.isoformat(), actor, row.action, row.subject, row.tenancy_id, {}, row.previous]
    text = json.dumps(array, separators=(",", ":"))

    assert row.hash == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_a_hash_does_not_hang_on_the_order_of_details() -> None:
    """Details are hashed by their keys, so that any database may keep them."""
    (row,) = chain(1)
    assert rehashed(row, details={"a": ["ä"], "b": 1}).hash == row.hash


CHANGES: list[dict[str, Any]] = [
    {"at": NOON + timedelta(microseconds=1)},
    {"actor": "other"},
    {"action": "token.refused"},
    {"subject": "other"},
    {"tenancy_id": ""},
    {"details": {}},
    {"hash": "0" * 64},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_a_changed_row_is_found(change: dict[str, Any]) -> None:
    """Whatever was changed in it."""
    rows = chain()
    rows[2] = replace(rows[2], **change)
    assert check(rows) == Verdict(3, rows[1].hash, "was changed")


def test_a_row_changed_with_its_hash_is_found_by_the_next() -> None:
    """The next row still has the hash that was."""
    rows = chain()
    rows[2] = rehashed(rows[2], actor="other")
    assert check(rows) == Verdict(4, rows[2].hash, "does not follow from the one before it")


TAMPERINGS: list[tuple[str, Callable[[list[AuditRow]], list[AuditRow]], int, str]] = [
    ("missing", lambda rows: [*rows[:2], *rows[3:]], 3, "is missing; 4 comes next"),
    ("first missing", lambda rows: rows[1:], 1, "is missing; 2 comes next"),
    (
        "missing, the rest numbered anew",
        lambda rows: [*rows[:2], *(rehashed(row, seq=row.seq - 1) for row in rows[3:])],
        3,
        "does not follow from the one before it",
    ),
    (
        "inserted",
        lambda rows: [*rows[:2], rehashed(rows[2], actor="other"), *rows[2:]],
        4,
        "is missing; 3 comes next",
    ),
    (
        "inserted, the rest numbered anew",
        lambda rows: [
            *rows[:2],
            rehashed(rows[2], actor="other"),
            *(rehashed(row, seq=row.seq + 1) for row in rows[2:]),
        ],
        4,
        "does not follow from the one before it",
    ),
    (
        "reordered",
        lambda rows: [*rows[:2], rows[3], rows[2], *rows[4:]],
        3,
        "is missing; 4 comes next",
    ),
    (
        "reordered, numbered anew",
        lambda rows: [*rows[:2], rehashed(rows[3], seq=3), rehashed(rows[2], seq=4), *rows[4:]],
        3,
        "does not follow from the one before it",
    ),
]


@pytest.mark.parametrize(
    ("tamper", "seq", "fault"), [case[1:] for case in TAMPERINGS], ids=[it[0] for it in TAMPERINGS]
)
def test_tampering_is_found(
    tamper: Callable[[list[AuditRow]], list[AuditRow]], seq: int, fault: str
) -> None:
    """The first row that is wrong is named, with what is wrong."""
    verdict = check(tamper(chain()))
    assert (verdict.seq, verdict.fault) == (seq, fault)


def test_an_end_that_was_cut_off_is_found_by_a_noted_head() -> None:
    """Without one, the rest is a whole chain."""
    rows = chain()
    noted = check(rows)
    assert check(rows[:3]).fault is None
    assert check(rows[:3], noted=noted) == Verdict(
        4, rows[2].hash, "is missing; the log went on to 5"
    )
    assert check([], noted=noted).fault == "is missing; the log went on to 5"


def test_a_chain_made_anew_is_found_by_a_noted_head() -> None:
    """The row of that number has another hash."""
    noted = check(chain(3))
    anew = chain(5, subject="other")
    assert check(anew).fault is None
    verdict = check(anew, noted=noted)
    assert (verdict.seq, verdict.fault) == (
        3,
        "is not the one that was noted: the chain was made anew",
    )


def test_a_chain_that_went_on_is_whole() -> None:
    """A head that was noted earlier is still in it."""
    rows = chain()
    assert check(rows, noted=check(rows[:2])) == Verdict(5, rows[-1].hash)
    assert check(rows, noted=FIRST) == Verdict(5, rows[-1].hash)
