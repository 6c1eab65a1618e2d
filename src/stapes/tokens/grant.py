"""What a session token says: who may open which session, until when, within which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stapes.tokens.limits import Limits


@dataclass(frozen=True, slots=True)
class Grant:
    """A verified token's content. It rides in the session's state, and nothing is looked up twice.

    Attributes:
        session_id: the one session, an OCID.
        tenancy_id: the caller's tenancy.
        compartment_id: the one the session runs in.
        user_id: the caller.
        issued_at: when it was minted, to the second; aware.
        expires_at: until when a socket may be opened; aware. A live session outlasts it.
        jti: the token's own id.
        limits: bounds, or None.
        kid: which key signed the token; None when there was none.
    """

    session_id: str
    tenancy_id: str
    compartment_id: str
    user_id: str
    issued_at: datetime
    expires_at: datetime
    jti: str
    limits: Limits | None = None
    kid: str | None = None
