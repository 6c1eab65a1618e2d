"""What a snapshot of revocations covers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stapes.errors import TokenRevokedError
from stapes.tokens.grant import Grant
from stapes.tokens.revocations import Revocations, date_of_issue

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GRANT = Grant("session", "tenancy", "compartment", "user", NOON, NOON + 3600 * SECOND, "id")


@pytest.mark.parametrize(
    ("revocations", "is_covered"),
    [
        (Revocations(), False),
        (Revocations(frozenset({("tenancy", "session")})), True),
        (Revocations(frozenset({("tenancy", "another")})), False),
        (Revocations(frozenset({("another", "session")})), False),
        (Revocations(users={("tenancy", "user"): NOON + 9 * SECOND}), True),
        (Revocations(users={("tenancy", "user"): NOON + SECOND / 2}), True),
        (Revocations(users={("tenancy", "user"): NOON}), True),
        (Revocations(users={("tenancy", "user"): NOON - SECOND / 9}), False),
        (Revocations(users={("tenancy", "another"): NOON}), False),
        (Revocations(users={("another", "user"): NOON}), False),
    ],
)
def test_a_grant_is_covered_by_its_own(revocations: Revocations, is_covered: bool) -> None:
    """By its session, or by its user in the second of its issue or later; in its tenancy alone."""
    assert revocations.covers(GRANT) is is_covered
    if is_covered:
        with pytest.raises(TokenRevokedError):
            revocations.check(GRANT)
    else:
        revocations.check(GRANT)


@pytest.mark.parametrize("after", [timedelta(0), SECOND / 4, SECOND, 60 * SECOND])
def test_what_is_minted_after_a_revocation_is_not_covered(after: timedelta) -> None:
    """Also in the same second: its date is the next one."""
    revoked_at = NOON + SECOND / 2
    revocations = Revocations(users={("tenancy", "user"): revoked_at})
    now = revoked_at + after
    issued_at = date_of_issue(revocations, "tenancy", "user", now).replace(microsecond=0)
    assert not revocations.covers(replace(GRANT, issued_at=issued_at))
    assert timedelta(0) <= max(issued_at - now, timedelta(0)) <= SECOND
    assert date_of_issue(revocations, "tenancy", "another", now) == now
