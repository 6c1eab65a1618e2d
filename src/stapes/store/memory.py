"""The store in memory: the null adapter, for tests and for servers that keep nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from stapes.accounts.audit import FIRST_PREVIOUS, AuditRow, digest
from stapes.errors import RecordRefusedError
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Compartment,
    Directory,
    Group,
    Policy,
    Tenancy,
    User,
)
from stapes.store.port import (
    Audited,
    FinalHeard,
    Identity,
    IdentityRemoved,
    Place,
    Record,
    Revoked,
    SessionCreated,
    SessionFilter,
    SessionState,
    SessionSummary,
    SigningKeyAdded,
    SigningKeyRetired,
    StreamClosed,
    StreamMetered,
    StreamOpened,
    StreamSummary,
    Use,
    Versions,
)
from stapes.tokens.revocations import Revocations

StreamKey = tuple[str, int]
IDENTITIES: dict[type[Any], str] = {
    Tenancy: "tenancies",
    Compartment: "compartments",
    User: "users",
    Group: "groups",
    Policy: "policies",
    BearerKey: "bearer_keys",
}


@dataclass(slots=True)
class _Kept:
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
    revocations: dict[tuple[str, str], Revoked] = field(default_factory=dict)
    opened: dict[StreamKey, StreamOpened] = field(default_factory=dict)
    metered: dict[StreamKey, StreamMetered] = field(default_factory=dict)
    closed: dict[StreamKey, StreamClosed] = field(default_factory=dict)
    finals: dict[tuple[str, int, int], FinalHeard] = field(default_factory=dict)
    servers: dict[str, datetime] = field(default_factory=dict)
    audit: dict[int, AuditRow] = field(default_factory=dict)
    versions: Versions = field(default_factory=Versions)

    def copy(self) -> _Kept:
        return _Kept(*(copy(getattr(self, name)) for name in self.__slots__))

    def add(self, record: Record) -> None:  # noqa: C901 - one case a kind of record
        match record:
            case SessionCreated():
                _add(self.sessions, record.session_id, record)
            case StreamOpened():
                _add(self.opened, (record.session_id, record.stream), record)
            case FinalHeard():
                _require(self.opened, (record.session_id, record.stream))
                _add(self.finals, (record.session_id, record.stream, record.number), record)
            case StreamMetered() | StreamClosed():
                self.meter(record)
            case Audited():
                self.append(record)
            case SigningKeyAdded() | SigningKeyRetired():
                self.change_key(record)
            case Revoked():
                self.revoke(record)
            case IdentityRemoved():
                self.remove(record.identity)
            case _:
                self.replace(record)

    def meter(self, record: StreamMetered | StreamClosed) -> None:
        key = (record.session_id, record.stream)
        _require(self.opened, key)
        amounts = (record.audio_ms, record.speech_ms, record.wall_ms, record.words)
        self.metered[key] = StreamMetered(*key, *amounts)
        if isinstance(record, StreamClosed):
            self.closed[key] = record

    def append(self, record: Audited) -> None:
        last = self.audit[len(self.audit)].hash if self.audit else FIRST_PREVIOUS
        row: dict[str, Any] = {each.name: getattr(record, each.name) for each in fields(record)}
        row |= {"seq": len(self.audit) + 1, "at": record.at.astimezone(UTC), "previous": last}
        self.audit[row["seq"]] = AuditRow(**row, hash=digest(**row))

    def change_key(self, record: SigningKeyAdded | SigningKeyRetired) -> None:
        self.versions = replace(self.versions, keys=self.versions.keys + 1)
        if isinstance(record, SigningKeyAdded):
            _add(self.signing_keys, record.kid, record)
            return
        _require(self.signing_keys, record.kid)
        key = self.signing_keys[record.kid]
        if key.retires_at is None or record.retires_at < key.retires_at:
            self.signing_keys[record.kid] = replace(key, retires_at=record.retires_at)

    def revoke(self, record: Revoked) -> None:
        self.versions = replace(self.versions, revocations=self.versions.revocations + 1)
        self.revocations[record.scope, record.subject] = record
        for session in self.sessions.values():
            if session.tenancy_id == record.tenancy_id and self.is_taken(session, record):
                self.revoked.setdefault(session.session_id, record.revoked_at)

    def is_taken(self, session: SessionCreated, record: Revoked) -> bool:
        if record.scope == "session":
            return session.session_id == record.subject
        could_be_used = session.expires_at > record.revoked_at or self.is_live(session.session_id)
        is_theirs = session.user_id == record.subject
        return is_theirs and session.issued_at <= record.revoked_at and could_be_used

    def is_live(self, session_id: str) -> bool:
        return any(key[0] == session_id and key not in self.closed for key in self.opened)

    def remove(self, identity: Identity) -> None:
        self.versions = replace(self.versions, identities=self.versions.identities + 1)
        kept, key = self.place_of(identity)
        if key not in kept:
            raise RecordRefusedError(f"there is no {type(identity).__name__} {key}")
        del kept[key]
        if isinstance(identity, User):
            self.api_keys = {k: it for k, it in self.api_keys.items() if it.user_id != key}
            self.bearer_keys = {k: it for k, it in self.bearer_keys.items() if it.user_id != key}
        self.check_references()

    def replace(self, identity: Identity) -> None:
        self.versions = replace(self.versions, identities=self.versions.identities + 1)
        kept, key = self.place_of(identity)
        kept[key] = identity
        self.check_references()

    def place_of(self, identity: Identity) -> tuple[dict[Any, Any], Any]:
        if isinstance(identity, ApiKey):
            return self.api_keys, (identity.user_id, identity.fingerprint)
        return getattr(self, IDENTITIES[type(identity)]), identity.id

    def check_references(self) -> None:
        """What a database's foreign keys hold."""
        for kept in (self.compartments, self.users, self.groups, self.policies):
            for identity in kept.values():
                _require(self.tenancies, identity.tenancy_id)
        for keys in (self.api_keys, self.bearer_keys):
            for key in keys.values():
                _require(self.users, key.user_id)


class MemoryStore:
    """The store in memory. Its methods may be called from any thread."""

    def __init__(self) -> None:
        """An empty store."""
        self._kept = _Kept()
        self._writing = Lock()

    def write(self, records: Sequence[Record]) -> None:
        """See `stapes.store.port.Store.write`."""

        def change(kept: _Kept) -> None:
            for record in records:
                kept.add(record)

        self._change(change)

    def _change(self, change: Callable[[_Kept], Any]) -> Any:
        with self._writing:
            # A copy takes the records and then the place, so that nothing of a refused batch
            # stays and readers see whole batches only.
            kept = self._kept.copy()
            result = change(kept)
            self._kept = kept
            return result

    def versions(self) -> Versions:
        """See `stapes.store.port.Store.versions`."""
        return self._kept.versions

    def directory(self) -> Directory:
        """See `stapes.store.port.Store.directory`."""
        kept = self._kept.copy()
        return Directory(
            kept.tenancies,
            kept.compartments,
            kept.users,
            kept.groups,
            kept.policies,
            kept.api_keys,
            kept.bearer_keys,
        )

    def signing_keys(self) -> list[SigningKeyAdded]:
        """See `stapes.store.port.Store.signing_keys`."""
        by_kid = sorted(self._kept.signing_keys.values(), key=lambda key: key.kid)
        return sorted(by_kid, key=lambda key: key.added_at, reverse=True)

    def revocations(self, now: datetime) -> Revocations:
        """See `stapes.store.port.Store.revocations`. Nothing is forgotten here."""
        kept = self._kept
        sessions = [subject for scope, subject in kept.revocations if scope == "session"]
        users = {
            subject: revoked.revoked_at
            for (scope, subject), revoked in kept.revocations.items()
            if scope == "user"
        }
        return Revocations(frozenset([*kept.revoked, *sessions]), users)

    def retried_since(self, since: datetime) -> list[SessionCreated]:
        """See `stapes.store.port.Store.retried_since`."""
        return sorted(
            (
                token
                for token in self._kept.sessions.values()
                if token.retry_token is not None and token.issued_at >= since
            ),
            key=lambda token: (token.issued_at, token.session_id),
        )

    def claim_stream(self, opened: StreamOpened, *, only_first: bool = False) -> int | None:
        """See `stapes.store.port.Store.claim_stream`."""

        def claim(kept: _Kept) -> int | None:
            last = max((n for session, n in kept.opened if session == opened.session_id), default=0)
            if only_first and last:
                return None
            kept.add(replace(opened, stream=last + 1))
            return last + 1

        number: int | None = self._change(claim)
        return number

    def withdraw_stream(self, session_id: str, stream: int) -> None:
        """See `stapes.store.port.Store.withdraw_stream`."""
        self._change(lambda kept: kept.opened.pop((session_id, stream), None))

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        kept = self._kept
        opened = [it for it in kept.opened.values() if session_id in {None, it.session_id}]
        opened.sort(key=lambda it: (it.session_id, -it.stream))
        opened.sort(key=lambda it: it.opened_at, reverse=True)
        return [_summary(kept, stream) for stream in opened[:limit]]

    def closed_streams(self, since: datetime, until: datetime) -> Iterator[StreamSummary]:
        """See `stapes.store.port.Store.closed_streams`."""
        kept = self._kept
        ended = [it for it in kept.closed.values() if since <= it.closed_at < until]
        ended.sort(key=lambda it: (it.closed_at, it.session_id, it.stream))
        for it in ended:
            yield _summary(kept, kept.opened[it.session_id, it.stream])

    def sessions(
        self, chosen: SessionFilter, now: datetime, *, limit: int, after: Place | None = None
    ) -> list[SessionSummary]:
        """See `stapes.store.port.Store.sessions`."""
        kept = self._kept
        found = [_session(kept, session, now) for session in kept.sessions.values()]
        found = [it for it in found if _is_chosen(it, chosen)]
        found.sort(key=lambda it: it.session_id)
        found.sort(key=lambda it: it.issued_at, reverse=True)
        if after is not None:
            found = [it for it in found if _is_behind(it, after)]
        return found[:limit]

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """See `stapes.store.port.Store.finals`."""
        return sorted(
            (
                final
                for final in self._kept.finals.values()
                if final.session_id == session_id and stream in {None, final.stream}
            ),
            key=lambda final: (final.stream, final.number),
        )

    def forget_finals(self, session_id: str) -> int:
        """See `stapes.store.port.Store.forget_finals`."""
        return self._forget_finals(lambda final: final.session_id == session_id)

    def forget_finals_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_finals_before`."""
        return self._forget_finals(lambda final: final.heard_at < moment)

    def _forget_finals(self, is_meant: Callable[[FinalHeard], bool]) -> int:
        def forget(kept: _Kept) -> int:
            left = {key: final for key, final in kept.finals.items() if not is_meant(final)}
            gone = len(kept.finals) - len(left)
            kept.finals = left
            return gone

        count: int = self._change(forget)
        return count

    def forget_sessions_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_sessions_before`."""

        def forget(kept: _Kept) -> int:
            gone = {
                it.session_id
                for it in kept.sessions.values()
                if it.expires_at < moment and _has_ended_before(kept, it.session_id, moment)
            }
            kept.sessions = {k: it for k, it in kept.sessions.items() if k not in gone}
            kept.opened = {k: it for k, it in kept.opened.items() if k[0] not in gone}
            kept.closed = {k: it for k, it in kept.closed.items() if k[0] not in gone}
            kept.finals = {k: it for k, it in kept.finals.items() if k[0] not in gone}
            return len(gone)

        count: int = self._change(forget)
        return count

    def beat(self, server_id: str, now: datetime) -> None:
        """See `stapes.store.port.Store.beat`."""
        self._change(lambda kept: kept.servers.update({server_id: now}))

    def uses_elsewhere(
        self, server_id: str, alive_since: datetime, minted_since: datetime
    ) -> list[Use]:
        """See `stapes.store.port.Store.uses_elsewhere`."""
        kept = self._kept
        alive = {id_ for id_, at in kept.servers.items() if at >= alive_since and id_ != server_id}
        live = Counter(
            (it.tenancy_id, it.compartment_id, it.user_id)
            for key, it in kept.opened.items()
            if key not in kept.closed and it.server_id in alive
        )
        minted = Counter(
            (it.tenancy_id, it.compartment_id, it.user_id)
            for it in kept.sessions.values()
            if it.issued_at >= minted_since and it.server_id != server_id and it.kid is not None
        )
        uses = [Use(*who, live=count) for who, count in live.items()]
        return uses + [Use(*who, minted=count) for who, count in minted.items()]

    def close_lost(self, alive_since: datetime) -> int:
        """See `stapes.store.port.Store.close_lost`."""

        def close(kept: _Kept) -> int:
            kept.servers = {k: at for k, at in kept.servers.items() if at >= alive_since}
            lost = [
                key
                for key, it in kept.opened.items()
                if key not in kept.closed and it.server_id not in kept.servers
            ]
            for key in lost:
                used = kept.metered.get(key, StreamMetered(*key, 0, 0, 0, 0))
                ended = kept.opened[key].opened_at + timedelta(milliseconds=used.wall_ms)
                amounts = (used.audio_ms, used.speech_ms, used.wall_ms, used.words)
                kept.add(StreamClosed(*key, ended, "lost", *amounts))
            return len(lost)

        count: int = self._change(close)
        return count

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """See `stapes.store.port.Store.audit`."""
        rows = [row for row in self._kept.audit.values() if row.seq > after]
        return rows[:limit]

    def check_writable(self) -> None:
        """Memory always is."""

    def close(self) -> None:
        """Nothing to let go of."""


def _add(kept: dict[Any, Any], key: object, record: Record) -> None:
    if key in kept:
        raise RecordRefusedError(f"{type(record).__name__} {key} is there already")
    kept[key] = record


def _require(kept: dict[Any, Any], key: object) -> None:
    if key not in kept:
        raise RecordRefusedError(f"{key} does not exist")


def _summary(kept: _Kept, opened: StreamOpened) -> StreamSummary:
    key = (opened.session_id, opened.stream)
    closed = kept.closed.get(key)
    used = kept.metered.get(key, StreamMetered(*key, 0, 0, 0, 0))
    session = kept.sessions.get(opened.session_id)
    finals = [final for final in kept.finals.values() if (final.session_id, final.stream) == key]
    return StreamSummary(
        session_id=opened.session_id,
        stream=opened.stream,
        tenancy_id=opened.tenancy_id,
        compartment_id=opened.compartment_id,
        user_id=opened.user_id,
        engine=opened.engine,
        opened_at=opened.opened_at,
        closed_at=closed.closed_at if closed else None,
        reason=closed.reason if closed else None,
        audio_ms=used.audio_ms,
        speech_ms=used.speech_ms,
        wall_ms=used.wall_ms,
        words=used.words,
        finals=len(finals),
        freeform_tags=dict(session.freeform_tags or {}) if session else {},
    )


def _session(kept: _Kept, session: SessionCreated, now: datetime) -> SessionSummary:
    streams = [key for key in kept.opened if key[0] == session.session_id]
    return SessionSummary(
        session_id=session.session_id,
        tenancy_id=session.tenancy_id,
        compartment_id=session.compartment_id,
        user_id=session.user_id,
        issued_at=session.issued_at,
        expires_at=session.expires_at,
        revoked_at=kept.revoked.get(session.session_id),
        state=_state(kept, session, now),
        streams=len(streams),
        claims=session.claims,
        freeform_tags=session.freeform_tags,
        defined_tags=session.defined_tags,
    )


def _state(kept: _Kept, session: SessionCreated, now: datetime) -> SessionState:
    if session.session_id in kept.revoked:
        return "REVOKED"
    if kept.is_live(session.session_id):
        return "LIVE"
    if any(key[0] == session.session_id for key in kept.opened):
        return "CLOSED"
    return "EXPIRED" if session.expires_at <= now else "ISSUED"


def _is_chosen(it: SessionSummary, chosen: SessionFilter) -> bool:
    return (
        (chosen.compartment_ids is None or it.compartment_id in chosen.compartment_ids)
        and chosen.user_id in {None, it.user_id}
        and chosen.session_id in {None, it.session_id}
        and chosen.state in {None, it.state}
        and (chosen.tag is None or (it.freeform_tags or {}).get(chosen.tag[0]) == chosen.tag[1])
        and (chosen.issued_from is None or it.issued_at >= chosen.issued_from)
        and (chosen.issued_before is None or it.issued_at < chosen.issued_before)
    )


def _is_behind(it: SessionSummary, after: Place) -> bool:
    issued_at, session_id = after
    return it.issued_at < issued_at or (it.issued_at == issued_at and it.session_id > session_id)


def _has_ended_before(kept: _Kept, session_id: str, moment: datetime) -> bool:
    keys = [key for key in kept.opened if key[0] == session_id]
    return all(key in kept.closed and kept.closed[key].closed_at < moment for key in keys)
