"""What a store is given to keep: what happened, what changed, and who did it.

Times are UTC and aware, and kept to the microsecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from stapes.identity.model import Identity
from stapes.protocol.words import Word

Tags = dict[str, str]
DefinedTags = dict[str, dict[str, str | int | bool]]

StreamKey = tuple[str, int]
"""A session's OCID and the number of a stream within it."""


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """A session exists: a token was minted for it, or credentials opened it.

    The token itself is never kept; its claims are, and the ``kid`` of its key. Signing them again
    gives the same token, byte for byte (Ed25519 is deterministic, RFC 8032). Both are None for a
    session of credentials. ``retry_token`` is set when the request carried an
    ``opc-retry-token``; ``body_sha256`` then tells an equal request from another one.
    """

    session_id: str
    tenancy_id: str
    compartment_id: str
    user_id: str
    kid: str | None
    issued_at: datetime
    expires_at: datetime
    claims: dict[str, Any] | None
    freeform_tags: Tags | None = None
    defined_tags: DefinedTags | None = None
    retry_token: str | None = None
    body_sha256: str | None = None
    server_id: str = ""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A socket opened a stream of a session; ``stream`` counts from 1 within the session.

    ``server_id`` is the process that serves it: see `Store.beat`.
    """

    session_id: str
    stream: int
    tenancy_id: str
    compartment_id: str
    user_id: str
    opened_at: datetime
    params: dict[str, Any]
    engine: str
    server_id: str = ""


@dataclass(frozen=True, slots=True)
class FinalHeard:
    """A final transcription of a stream; ``number`` counts from 1 within the stream.

    ``words`` and times are in ms on the stream's audio timeline.
    """

    session_id: str
    stream: int
    number: int
    text: str
    start_ms: int
    end_ms: int
    confidence: float
    words: tuple[Word, ...]
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class StreamMetered:
    """How much a stream has had so far. A server that is killed leaves at least this behind."""

    session_id: str
    stream: int
    audio_ms: int
    speech_ms: int
    wall_ms: int
    words: int


@dataclass(frozen=True, slots=True)
class StreamResumable:
    """Where a stream can be continued, by whatever server: behind its last final.

    ``audio_bytes`` counts in the stream's encoding, ``state`` is the recogniser's there.
    ``finals`` are the last ones as they were sent (JSON of a transcription with its number), and
    ``finals_sent`` counts all. Finals that the store has not, or not any more, are left out: what
    was forgotten does not come back this way. Amounts are those up to there. The newest replaces
    those before.
    """

    session_id: str
    stream: int
    audio_bytes: int
    state: bytes
    finals: list[dict[str, Any]]
    finals_sent: int
    speech_ms: int
    wall_ms: int
    words: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """A stream ended. ``reason`` is one word of `stapes.protocol.effects.Ending`, or ``lost``.

    A stream that was continued ends more than once; the last end counts. ``server_id`` is the
    server that says so: of a stream that another one has taken over, it is no end. None: whoever.
    """

    session_id: str
    stream: int
    closed_at: datetime
    reason: str
    audio_ms: int
    speech_ms: int
    wall_ms: int = 0
    words: int = 0
    server_id: str | None = None


@dataclass(frozen=True, slots=True)
class SigningKeyAdded:
    """A token-signing key; the private part is a file of the home folder, never in the store.

    From ``retires_at`` on nothing that it signed is accepted any more; None: it is in use.
    """

    kid: str
    public_jwk: dict[str, str]
    added_at: datetime
    retires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SigningKeyRetired:
    """A token-signing key is refused from ``retires_at`` on; the earliest such moment counts."""

    kid: str
    retires_at: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    """Tokens were taken back at ``revoked_at``.

    ``session``: the session of that OCID. ``user``: all that the user of that OCID held then.
    """

    tenancy_id: str
    scope: Literal["session", "user"]
    subject: str
    revoked_at: datetime


@dataclass(frozen=True, slots=True)
class Audited:
    """Somebody did something that has to stay known; the store chains it to the one before.

    ``actor`` is a user's OCID, or ``local:NAME`` for somebody at the machine's own command line.
    ``action`` is two words: ``token.minted``, ``policy.added``.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    tenancy_id: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IdentityRemoved:
    """An identity is gone; only its key counts. A user's API and bearer keys go with it."""

    identity: Identity


RESUMABLE_ENDS = frozenset({"moved", "stopped", "failed", "lost"})
"""Ends of a stream that are not its peer's will: it may be continued."""

Happening = (
    SessionCreated | StreamOpened | FinalHeard | StreamMetered | StreamResumable | StreamClosed
)
Change = SigningKeyAdded | SigningKeyRetired | Revoked | IdentityRemoved | Identity
Record = Happening | Change | Audited
