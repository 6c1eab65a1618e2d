"""The store port: what is kept, and how it is asked for.

Synchronous. One writer thread (`stapes.store.writer.Writer`) owns every write of a server and
makes them in batches; the streaming path reads nothing from here. Times are UTC and aware, and
kept to the microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from stapes.identity.model import (
    ApiKey,
    Compartment,
    Directory,
    Group,
    Policy,
    Tenancy,
    User,
)
from stapes.protocol.words import Word

Tags = dict[str, str]
DefinedTags = dict[str, dict[str, str | int | bool]]


@dataclass(frozen=True, slots=True)
class TokenIssued:
    """A session token was minted. The token itself is never kept; its claims are.

    ``retry_token`` is set when the request carried an ``opc-retry-token``;
    ``body_sha256`` then tells an equal request from another one. Signing ``claims`` again with the
    key ``kid`` gives the same token, byte for byte (Ed25519 is deterministic, RFC 8032).
    """

    session_id: str
    tenancy_id: str
    compartment_id: str
    user_id: str
    kid: str
    issued_at: datetime
    expires_at: datetime
    claims: dict[str, Any]
    freeform_tags: Tags | None = None
    defined_tags: DefinedTags | None = None
    retry_token: str | None = None
    body_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A socket opened a stream of a session; ``stream`` counts from 1 within the session."""

    session_id: str
    stream: int
    tenancy_id: str
    compartment_id: str
    user_id: str
    opened_at: datetime
    params: dict[str, Any]
    engine: str


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
class StreamClosed:
    """A stream ended. ``reason`` is one word: peer, limit, idle, drain, error, shutdown.

    A stream that was continued ends more than once; the last end counts.
    """

    session_id: str
    stream: int
    closed_at: datetime
    reason: str
    audio_ms: int
    speech_ms: int


@dataclass(frozen=True, slots=True)
class SigningKeyAdded:
    """A token-signing key; the private part is a file of the home folder, never in the store."""

    kid: str
    public_jwk: dict[str, str]
    added_at: datetime


Identity = Tenancy | Compartment | User | Group | Policy | ApiKey
Record = TokenIssued | StreamOpened | FinalHeard | StreamClosed | SigningKeyAdded | Identity


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream of a session, for lists. ``closed_at`` is None while it is live or was cut off.

    ``audio_ms`` is 0 until then. ``freeform_tags`` are those of the session's token.
    """

    session_id: str
    stream: int
    compartment_id: str
    user_id: str
    opened_at: datetime
    closed_at: datetime | None
    reason: str | None
    audio_ms: int
    finals: int
    words: int
    freeform_tags: Tags = field(default_factory=dict)


class Store(Protocol):
    """Where Stapes keeps what must outlive the process. Every method may raise `StoreError`."""

    def write(self, records: Sequence[Record]) -> None:
        """Write all records in one transaction, in order. Identity records replace by key.

        Raises `RecordRefusedError` when one of them can never be written, and `StoreError` when
        none can be at the moment. Either way nothing was written.
        """
        ...

    def directory(self) -> Directory:
        """A snapshot of the identities."""
        ...

    def signing_keys(self) -> list[SigningKeyAdded]:
        """The token-signing keys, newest first."""
        ...

    def retried_since(self, since: datetime) -> list[TokenIssued]:
        """Tokens issued at or after ``since`` on a request with a retry token, oldest first."""
        ...

    def last_stream(self, session_id: str) -> int:
        """Number of the session's newest stream; 0 when it was never opened."""
        ...

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """Streams, newest first; ``limit`` at least 0."""
        ...

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """The finals of a session, by stream and number."""
        ...

    def check_writable(self) -> None:
        """Write and take back a row; raises `StoreError` with the reason when that fails."""
        ...

    def close(self) -> None:
        """Let go of the database. Safe to call twice."""
        ...
