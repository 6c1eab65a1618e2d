"""Tokens that were taken back: asked in memory before a socket is opened, and of the live ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stapes.errors import TokenRevokedError
from stapes.tokens.grant import Grant

LONGEST_TOKEN = timedelta(hours=25)
"""No token can be used for longer, skew included: what was revoked before need not be known."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """A snapshot of what was taken back.

    Everything goes by the OCID of a tenancy and one of what is its own: nobody can take back what
    belongs to another tenancy.

    Attributes:
        sessions: tenancies and their sessions.
        users: until when the tokens of a tenancy's user were taken back: what was issued in that
            second or before is refused, what is issued later is not.
    """

    sessions: frozenset[tuple[str, str]] = frozenset()
    users: Mapping[tuple[str, str], datetime] = field(default_factory=dict)

    def covers(self, grant: Grant) -> bool:
        """Whether what is granted was taken back."""
        if (grant.tenancy_id, grant.session_id) in self.sessions:
            return True
        revoked_at = self.users.get((grant.tenancy_id, grant.user_id))
        return revoked_at is not None and grant.issued_at < first_uncovered(revoked_at)

    def check(self, grant: Grant) -> None:
        """Raise `TokenRevokedError` when what is granted was taken back."""
        if self.covers(grant):
            raise TokenRevokedError(f"{grant.session_id} was revoked")


def first_uncovered(revoked_at: datetime) -> datetime:
    """The first date of issue that a user's revocation leaves alone: the next whole second.

    A token's dates are whole seconds, so what was issued in the second of a revocation cannot be
    told apart.
    """
    return revoked_at.replace(microsecond=0) + timedelta(seconds=1)


def date_of_issue(
    revocations: Revocations, tenancy_id: str, user_id: str, now: datetime
) -> datetime:
    """When a token that is minted now is issued: later than the user's last revocation.

    One that is minted in the second of a revocation, after it, is dated a second ahead, since the
    revocation would cover it otherwise.
    """
    revoked_at = revocations.users.get((tenancy_id, user_id))
    return now if revoked_at is None else max(now, first_uncovered(revoked_at))
