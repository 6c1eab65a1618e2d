"""The store port: how what is kept (`stapes.store.records`) is given, asked for and forgotten.

Synchronous. One writer thread (`stapes.store.writer.Writer`) owns every write of a server and
makes them in batches; the streaming path reads nothing from here. Times are UTC and aware, and
kept to the microsecond.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from stapes.accounts.audit import AuditRow
from stapes.identity.model import Directory
from stapes.store.records import (
    DefinedTags,
    FinalHeard,
    Record,
    SessionCreated,
    SigningKeyAdded,
    StreamKey,
    StreamOpened,
    StreamResumable,
    Tags,
)
from stapes.tokens.revocations import Revocations


@dataclass(frozen=True, slots=True)
class Versions:
    """Counts what a server holds in memory: a number that grew says what to read again."""

    identities: int = 0
    keys: int = 0
    revocations: int = 0


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream of a session. ``closed_at`` is None while it is live or was cut off.

    Amounts are those last metered. ``freeform_tags`` are those of the session's token.
    """

    session_id: str
    stream: int
    tenancy_id: str
    compartment_id: str
    user_id: str
    engine: str
    opened_at: datetime
    closed_at: datetime | None
    reason: str | None
    audio_ms: int
    speech_ms: int
    wall_ms: int
    words: int
    finals: int
    freeform_tags: Tags = field(default_factory=dict)


SessionState = Literal["ISSUED", "LIVE", "CLOSED", "EXPIRED", "REVOKED"]
"""ISSUED: not opened yet. LIVE: a stream is open. CLOSED: none is any more. EXPIRED: it was never
opened and cannot be now. REVOKED: taken back, whatever it was before."""


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session and how it stands. ``streams`` counts all it ever had."""

    session_id: str
    tenancy_id: str
    compartment_id: str
    user_id: str
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    state: SessionState
    streams: int
    claims: dict[str, Any] | None
    freeform_tags: Tags | None
    defined_tags: DefinedTags | None


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are asked for; None asks for all.

    ``tag`` is a free-form tag's key and value. ``issued_from`` counts in, ``issued_before`` not.
    """

    compartment_ids: frozenset[str] | None = None
    user_id: str | None = None
    state: SessionState | None = None
    tag: tuple[str, str] | None = None
    issued_from: datetime | None = None
    issued_before: datetime | None = None
    session_id: str | None = None
    tenancy_id: str | None = None


@dataclass(frozen=True, slots=True)
class Contest:
    """A stream that is open on the server ``server_id``, and that another server wants.

    ``resumes``: to go on with it; else the session is to have a new one.
    """

    session_id: str
    stream: int
    server_id: str
    resumes: bool


Place = tuple[datetime, str]
"""Where a page of sessions ended: when its last one was issued, and its OCID."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a user has open in a compartment on other servers, and minted there of late."""

    tenancy_id: str
    compartment_id: str
    user_id: str
    live: int = 0
    minted: int = 0


class Store(Protocol):
    """Where Stapes keeps what must outlive the process. Every method may raise `StoreError`."""

    def write(self, records: Sequence[Record]) -> None:
        """Write all records in one transaction, in order. Identity records replace by key.

        Raises `RecordRefusedError` when one of them can never be written, and `StoreError` when
        none can be at the moment. Either way nothing was written.
        """
        ...

    def versions(self) -> Versions:
        """What to read again, for the price of a few numbers."""
        ...

    def directory(self) -> Directory:
        """A snapshot of the identities."""
        ...

    def signing_keys(self) -> list[SigningKeyAdded]:
        """The token-signing keys, newest first."""
        ...

    def revocations(self, now: datetime) -> Revocations:
        """What was taken back, as far as tokens that could still be used at ``now`` go."""
        ...

    def retried_since(self, since: datetime, *, most: int) -> list[SessionCreated]:
        """Tokens issued at or after ``since`` on a request with a retry token, oldest first.

        Of more than ``most``, the newest.
        """
        ...

    def claim_stream(
        self, opened: StreamOpened, *, only_first: bool = False, won: Contest | None = None
    ) -> int | Contest | None:
        """Write a stream at once under the session's next number, which is returned.

        ``opened.stream`` is ignored. With ``only_first`` the session must have had none, else
        None is returned and nothing written: of two that ask at the same instant, on whatever
        servers, one gets it. Nor is anything written while the newest stream is open on another
        server: that stream is returned, to be contested, unless it is the one that was ``won``.
        """
        ...

    def continue_stream(
        self,
        session_id: str,
        server_id: str,
        ended_since: datetime,
        *,
        won: Contest | None = None,
    ) -> tuple[StreamOpened, StreamResumable] | Contest | None:
        """Take over a session's newest stream for a server; it is open again, and nobody else's.

        None when it cannot be continued: it never had a final, its peer ended it, or it ended
        before ``ended_since``. While it is open on another server, it is returned to be contested,
        unless it was ``won``.
        """
        ...

    def contest(self, contest: Contest) -> None:
        """Ask for a stream that is open on another server, until that has answered."""
        ...

    def contests(self, server_id: str) -> list[Contest]:
        """The open streams of a server that others want."""
        ...

    def refuse_contest(self, contest: Contest) -> None:
        """Answer that the peer of a stream is still there."""
        ...

    def contest_result(self, contest: Contest) -> bool | None:
        """Whether the stream was let go of; False when that was refused, None while neither."""
        ...

    def taken_streams(self, server_id: str, streams: Collection[StreamKey]) -> list[StreamKey]:
        """Which of these streams of a server go on elsewhere.

        Another server has taken them over, or has opened a newer one of their session.
        """
        ...

    def withdraw_stream(self, session_id: str, stream: int) -> None:
        """Take back a claim that came to nothing, as though it had not been made."""
        ...

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """Streams, newest first; ``limit`` at least 0."""
        ...

    def closed_streams(self, since: datetime, until: datetime) -> Iterator[StreamSummary]:
        """Streams that ended from ``since`` on and before ``until``, in that order."""
        ...

    def sessions(
        self, chosen: SessionFilter, now: datetime, *, limit: int, after: Place | None = None
    ) -> list[SessionSummary]:
        """Sessions, newest first, behind ``after``; how they stand at ``now``."""
        ...

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """The finals of a session, by stream and number."""
        ...

    def forget_finals(self, session_id: str) -> int:
        """Delete the transcript of a session; returns how many finals it had.

        Streams that have ended cannot be continued any more; of others, what continues them has
        none of the finals in it.
        """
        ...

    def forget_finals_before(self, moment: datetime) -> int:
        """Delete finals heard before ``moment``; returns how many.

        Streams that ended before cannot be continued any more; of others, what continues them has
        none of these finals in it.
        """
        ...

    def forget_points_before(self, moment: datetime) -> int:
        """Delete what streams that ended before ``moment`` could be continued with.

        Returns how many such streams there were.
        """
        ...

    def forget_sessions_before(self, moment: datetime) -> int:
        """Delete sessions that expired and whose streams all ended before ``moment``.

        Their receipts cannot be made any more. Returns how many.
        """
        ...

    def beat(self, server_id: str, now: datetime) -> None:
        """A server lives. One that has not said so for a while is taken for dead."""
        ...

    def uses_elsewhere(
        self, server_id: str, alive_since: datetime, minted_since: datetime
    ) -> list[Use]:
        """What is open on other servers that live, and what they minted since a moment."""
        ...

    def close_lost(self, alive_since: datetime) -> int:
        """End streams whose server has died, with what was last metered; returns how many.

        They end when their server was last seen, wherever else they were before.
        """
        ...

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """The audit log behind row number ``after``, in order."""
        ...

    def check_writable(self) -> None:
        """Write and take back a row; raises `StoreError` with the reason when that fails."""
        ...

    def close(self) -> None:
        """Let go of the database. Safe to call twice."""
        ...
