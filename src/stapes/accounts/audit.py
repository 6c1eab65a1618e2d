"""The audit chain: every row is hashed with the one before it, so none can be changed unseen.

A row cannot be altered, taken out or put in without every hash behind it changing. Whoever can
write to the database could make the whole chain anew, or cut off its end; the last number and hash,
noted elsewhere from time to time, shows that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic_core import to_json

FIRST_PREVIOUS = "0" * 64
"""What stands for the hash before the first row's."""

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the log; ``seq`` counts from 1 without gaps. Hashes are SHA-256 in hex."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    tenancy_id: str
    details: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the chain found. ``fault`` says what is wrong with row ``seq``, if anything.

    ``seq`` and ``hash`` are otherwise those of the last row: the head, to be noted elsewhere.
    """

    seq: int
    hash: str
    fault: str | None = None


FIRST = Verdict(0, FIRST_PREVIOUS)
"""The head of an empty log."""


def digest(
    *,
    seq: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    tenancy_id: str,
    details: Mapping[str, Any],
    previous: str,
) -> str:
    """The hash of a row: SHA-256, in hex, of its values and the previous hash as a JSON array."""
    values = [seq, at.isoformat(), actor, action, subject, tenancy_id, details, previous]
    return hashlib.sha256(_spell(values, is_plain=not details)).hexdigest()


def _spell(values: list[Any], *, is_plain: bool) -> bytes:
    """Values as compact JSON in ASCII, names sorted; plain ones are numbers and strings alone."""
    if is_plain:  # most rows are, those of tokens, and this takes a fifth of the time
        with suppress(ValueError):  # half a surrogate pair
            text = to_json(values)
            if text.isascii() and b"\x7f" not in text:  # what is escaped below
                return text
    return _encode(values).encode("ascii")


def check(rows: Iterable[AuditRow], *, noted: Verdict | None = None) -> Verdict:
    """Follow the chain from its first row to the first fault.

    ``rows`` are all there are, in order. ``noted`` is a head that was noted earlier: the chain must
    still go through it.
    """
    noted = noted or FIRST
    last = FIRST
    for row in rows:
        if fault := _fault(row, last):
            return Verdict(last.seq + 1, last.hash, fault)
        last = Verdict(row.seq, row.hash)
        if last.seq == noted.seq and last.hash != noted.hash:
            return replace(last, fault="is not the one that was noted: the chain was made anew")
    if last.seq < noted.seq:
        return Verdict(last.seq + 1, last.hash, f"is missing; the log went on to {noted.seq}")
    return last


def _fault(row: AuditRow, last: Verdict) -> str | None:
    if row.seq != last.seq + 1:
        return f"is missing; {row.seq} comes next"
    if row.previous != last.hash:
        return "does not follow from the one before it"
    try:
        is_own = _digest_of(row) == row.hash
    except (TypeError, ValueError):  # a value of a kind that nobody wrote
        is_own = False
    return None if is_own else "was changed"


def _digest_of(row: AuditRow) -> str:
    return digest(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        tenancy_id=row.tenancy_id,
        details=row.details,
        previous=row.previous,
    )
