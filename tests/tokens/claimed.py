"""Claims of a session token, for tests that only need some."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stapes.tokens.minting import claims

ISSUER, AUDIENCE = "stapes", "stapes-realtime"


def some_claims(now: datetime, **changes: Any) -> dict[str, Any]:
    """Those of session ``session`` of user ``user``, minted at ``now`` for an hour."""
    return claims(
        **{
            "session_id": "session",
            "tenancy_id": "tenancy",
            "compartment_id": "compartment",
            "user_id": "user",
            "jti": "id",
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "now": now,
            "ttl_s": 3600,
            **changes,
        }
    )
