"""The audit chain: every row is hashed with the one before it, so none can be changed unseen.

A row cannot be altered, taken out or put in without every hash behind it changing. Whoever can
write to the database could make the whole chain anew, or cut off its end; the last number and hash,
noted elsewhere from time to time, shows that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FIRST_PREVIOUS = "0" * 64
"""What stands for the hash before the first row's."""


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
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check(rows: Iterable[AuditRow], head: Verdict | None = None) -> Verdict:
    """Follow the chain over ``rows`` to the first fault, from ``head`` on (None: the start)."""
    last = head or Verdict(0, FIRST_PREVIOUS)
    for row in rows:
        if row.seq != last.seq + 1:
            return Verdict(last.seq + 1, last.hash, f"is missing; {row.seq} comes next")
        if row.previous != last.hash:
            return Verdict(row.seq, last.hash, "does not follow from the one before it")
        if _digest_of(row) != row.hash:
            return Verdict(row.seq, last.hash, "was changed")
        last = Verdict(row.seq, row.hash)
    return last


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
