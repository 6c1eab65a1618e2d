"""What the store in memory keeps, and how records change it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from stapes.accounts.audit import FIRST_PREVIOUS, AuditRow, digest
from stapes.errors import RecordRefusedError
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Compartment,
    Group,
    Identity,
    Policy,
    Tenancy,
    User,
)
from stapes.store.port import Contest, Versions
from stapes.store.records import (
    RESUMABLE_ENDS,
    Audited,
    FinalHeard,
    IdentityRemoved,
    Record,
    Revoked,
    SessionCreated,
    SigningKeyAdded,
    SigningKeyRetired,
    StreamClosed,
    StreamKey,
    StreamMetered,
    StreamOpened,
    StreamResumable,
)
from stapes.tokens.revocations import first_uncovered

IDENTITIES: dict[type[Any], str] = {
    Tenancy: "tenancies",
    Compartment: "compartments",
    User: "users",
    Group: "groups",
    Policy: "policies",
    BearerKey: "bearer_keys",
}


@dataclass(slots=True)
class Kept:
    """All records, by their keys. Methods that change it may raise `RecordRefusedError`."""

    tenancies: dict[str, Tenancy] = field(default_factory=dict)
    compartments: dict[str, Compartment] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    api_keys: dict[tuple[str, str], ApiKey] = field(default_factory=dict)
    bearer_keys: dict[str, BearerKey] = field(default_factory=dict)
    signing_keys: dict[str, SigningKeyAdded] = field(default_factory=dict)
    sessions: dict[str, SessionCreated] = field(default_factory=dict)
    revoked: dict[str, datetime] = field(default_factory=dict)
    revocations: dict[tuple[str, str, str], Revoked] = field(default_factory=dict)
    opened: dict[StreamKey, StreamOpened] = field(default_factory=dict)
    metered: dict[StreamKey, StreamMetered] = field(default_factory=dict)
    closed: dict[StreamKey, StreamClosed] = field(default_factory=dict)
    finals: dict[tuple[str, int, int], FinalHeard] = field(default_factory=dict)
    resume_points: dict[StreamKey, StreamResumable] = field(default_factory=dict)
    contests: dict[str, Contest] = field(default_factory=dict)
    servers: dict[str, datetime] = field(default_factory=dict)
    audit: dict[int, AuditRow] = field(default_factory=dict)
    versions: Versions = field(default_factory=Versions)

    def copy(self) -> Kept:
        """A copy that changes apart."""
        return Kept(*(copy(getattr(self, name)) for name in self.__slots__))

    def add(self, record: Record) -> None:  # noqa: C901 - one case a kind of record
        """Take in a record of any kind."""
        match record:
            case SessionCreated():
                _add(self.sessions, record.session_id, record)
                for revoked in self.revocations.values():
                    self._mark(record, revoked)
            case StreamOpened():
                _add(self.opened, (record.session_id, record.stream), record)
            case FinalHeard():
                _require(self.opened, (record.session_id, record.stream))
                _add(self.finals, (record.session_id, record.stream, record.number), record)
            case StreamMetered() | StreamClosed():
                self._meter(record)
            case StreamResumable():
                _require(self.opened, (record.session_id, record.stream))
                key = (record.session_id, record.stream)
                self.resume_points[key] = self._without_forgotten(record)
            case Audited():
                self._append(record)
            case SigningKeyAdded() | SigningKeyRetired():
                self._change_key(record)
            case Revoked():
                self._revoke(record)
            case IdentityRemoved():
                self._remove(record.identity)
            case _:
                self._replace(record)

    def forget_finals(self, is_meant: Callable[[FinalHeard], bool]) -> int:
        """Forget such finals, in resume points too; returns how many there were."""
        gone = [key for key, final in self.finals.items() if is_meant(final)]
        for key in gone:
            del self.finals[key]
        points = self.resume_points
        self.resume_points = {key: self._without_forgotten(it) for key, it in points.items()}
        return len(gone)

    def forget_points(self, is_meant: Callable[[StreamClosed], bool]) -> int:
        """Forget the resume points of such streams as have ended; returns how many there were."""
        gone = [
            key for key, it in self.closed.items() if key in self.resume_points and is_meant(it)
        ]
        for key in gone:
            del self.resume_points[key]
        return len(gone)

    def forget_sessions(self, session_ids: Collection[str]) -> None:
        """Forget sessions and all that they left."""
        for session_id in session_ids:
            del self.sessions[session_id]
        of_streams: list[dict[Any, Any]] = [self.opened, self.metered, self.closed]
        for kept in (*of_streams, self.finals, self.resume_points):
            for key in [key for key in kept if key[0] in session_ids]:
                del kept[key]

    def _without_forgotten(self, point: StreamResumable) -> StreamResumable:
        of = (point.session_id, point.stream)
        finals = [each for each in point.finals if (*of, each["number"]) in self.finals]
        return replace(point, finals=finals)

    def newest_stream(self, session_id: str) -> StreamOpened | None:
        """The newest stream of a session."""
        mine = (it for (session, _), it in self.opened.items() if session == session_id)
        return max(mine, key=lambda it: it.stream, default=None)

    def held(
        self, newest: StreamOpened, server_id: str, won: Contest | None, *, resumes: bool = False
    ) -> Contest | None:
        """The newest stream of a session, when it is open on another server and was not won."""
        held = Contest(newest.session_id, newest.stream, newest.server_id, resumes)
        is_open = (newest.session_id, newest.stream) not in self.closed
        return held if is_open and newest.server_id != server_id and held != won else None

    def withdraw(self, key: StreamKey) -> None:
        """Forget a stream that came to nothing."""
        if any((final.session_id, final.stream) == key for final in self.finals.values()):
            raise RecordRefusedError(f"stream {key[1]} of {key[0]} has finals")
        for kept in (self.opened, self.metered, self.closed, self.resume_points):
            kept.pop(key, None)

    def _meter(self, record: StreamMetered | StreamClosed) -> None:
        key = (record.session_id, record.stream)
        _require(self.opened, key)
        server_id = record.server_id if isinstance(record, StreamClosed) else None
        if server_id not in {None, self.opened[key].server_id}:
            return
        amounts = (record.audio_ms, record.speech_ms, record.wall_ms, record.words)
        self.metered[key] = StreamMetered(*key, *amounts)
        if isinstance(record, StreamClosed):
            self.closed[key] = record
            if record.reason not in RESUMABLE_ENDS:
                self.resume_points.pop(key, None)

    def _append(self, record: Audited) -> None:
        last = self.audit[len(self.audit)].hash if self.audit else FIRST_PREVIOUS
        row: dict[str, Any] = {each.name: getattr(record, each.name) for each in fields(record)}
        row |= {"seq": len(self.audit) + 1, "at": record.at.astimezone(UTC), "previous": last}
        self.audit[row["seq"]] = AuditRow(**row, hash=digest(**row))

    def _change_key(self, record: SigningKeyAdded | SigningKeyRetired) -> None:
        self.versions = replace(self.versions, keys=self.versions.keys + 1)
        if isinstance(record, SigningKeyAdded):
            _add(self.signing_keys, record.kid, record)
            return
        _require(self.signing_keys, record.kid)
        key = self.signing_keys[record.kid]
        if key.retires_at is None or record.retires_at < key.retires_at:
            self.signing_keys[record.kid] = replace(key, retires_at=record.retires_at)

    def _revoke(self, record: Revoked) -> None:
        self.versions = replace(self.versions, revocations=self.versions.revocations + 1)
        key = (record.tenancy_id, record.scope, record.subject)
        before = self.revocations.get(key, record)
        self.revocations[key] = max(before, record, key=lambda each: each.revoked_at)
        for session in self.sessions.values():
            self._mark(session, record)

    def _mark(self, session: SessionCreated, record: Revoked) -> None:
        if session.tenancy_id == record.tenancy_id and self._is_taken(session, record):
            self.revoked.setdefault(session.session_id, record.revoked_at)

    def _is_taken(self, session: SessionCreated, record: Revoked) -> bool:
        if record.scope == "session":
            return session.session_id == record.subject
        could_be_used = session.expires_at > record.revoked_at or self.is_live(session.session_id)
        is_theirs = session.user_id == record.subject
        is_before = session.issued_at < first_uncovered(record.revoked_at)
        return is_theirs and is_before and could_be_used

    def is_live(self, session_id: str) -> bool:
        """Whether a stream of the session is open."""
        return any(key[0] == session_id and key not in self.closed for key in self.opened)

    def has_ended_before(self, session_id: str, moment: datetime) -> bool:
        """Whether all streams of the session ended before a moment."""
        keys = [key for key in self.opened if key[0] == session_id]
        return all(key in self.closed and self.closed[key].closed_at < moment for key in keys)

    def _remove(self, identity: Identity) -> None:
        self.versions = replace(self.versions, identities=self.versions.identities + 1)
        kept, key = self._place_of(identity)
        if key not in kept:
            raise RecordRefusedError(f"there is no {type(identity).__name__} {key}")
        del kept[key]
        if isinstance(identity, User):
            self.api_keys = {k: it for k, it in self.api_keys.items() if it.user_id != key}
            self.bearer_keys = {k: it for k, it in self.bearer_keys.items() if it.user_id != key}
        self._check_references()

    def _replace(self, identity: Identity) -> None:
        self.versions = replace(self.versions, identities=self.versions.identities + 1)
        kept, key = self._place_of(identity)
        kept[key] = identity
        self._check_references()

    def _place_of(self, identity: Identity) -> tuple[dict[Any, Any], Any]:
        if isinstance(identity, ApiKey):
            return self.api_keys, (identity.user_id, identity.fingerprint)
        return getattr(self, IDENTITIES[type(identity)]), identity.id

    def _check_references(self) -> None:
        """What a database's foreign keys hold."""
        for kept in (self.compartments, self.users, self.groups, self.policies):
            for identity in kept.values():
                _require(self.tenancies, identity.tenancy_id)
        for keys in (self.api_keys, self.bearer_keys):
            for key in keys.values():
                _require(self.users, key.user_id)


def _add(kept: dict[Any, Any], key: object, record: Record) -> None:
    if key in kept:
        raise RecordRefusedError(f"{type(record).__name__} {key} is there already")
    kept[key] = record


def _require(kept: dict[Any, Any], key: object) -> None:
    if key not in kept:
        raise RecordRefusedError(f"{key} does not exist")
