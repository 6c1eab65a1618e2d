"""Grants for tests: of session ``s`` of user ``u`` in compartment ``c`` of tenancy ``t``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stapes.tokens.grant import Grant

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
GRANT = Grant("s", "t", "c", "u", NOON, NOON + timedelta(hours=1), "jti")


def grant(session_id: str, **changes: Any) -> Grant:
    """One with another session and other changes."""
    return replace(GRANT, session_id=session_id, **changes)
