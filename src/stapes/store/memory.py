"""The store in memory: the null adapter, for tests and for servers that keep nothing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, assert_never

from stapes.errors import RecordRefusedError
from stapes.identity.model import ApiKey, Compartment, Directory, Group, Policy, Tenancy, User
from stapes.store.port import (
    FinalHeard,
    Identity,
    Record,
    SigningKeyAdded,
    StreamClosed,
    StreamOpened,
    StreamSummary,
    TokenIssued,
)

StreamKey = tuple[str, int]


@dataclass(slots=True)
class _Kept:
    tenancies: dict[str, Tenancy] = field(default_factory=dict)
    compartments: dict[str, Compartment] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    api_keys: dict[tuple[str, str], ApiKey] = field(default_factory=dict)
    signing_keys: dict[str, SigningKeyAdded] = field(default_factory=dict)
    tokens: dict[str, TokenIssued] = field(default_factory=dict)
    opened: dict[StreamKey, StreamOpened] = field(default_factory=dict)
    closed: dict[StreamKey, StreamClosed] = field(default_factory=dict)
    finals: dict[tuple[str, int, int], FinalHeard] = field(default_factory=dict)

    def copy(self) -> _Kept:
        return _Kept(*(copy(getattr(self, name)) for name in self.__slots__))

    def add(self, record: Record) -> None:
        match record:
            case TokenIssued():
                _add(self.tokens, record.session_id, record)
            case StreamOpened():
                _add(self.opened, (record.session_id, record.stream), record)
            case StreamClosed():
                key = (record.session_id, record.stream)
                _require(self.opened, key)
                self.closed[key] = record
            case FinalHeard():
                _require(self.opened, (record.session_id, record.stream))
                _add(self.finals, (record.session_id, record.stream, record.number), record)
            case SigningKeyAdded():
                _add(self.signing_keys, record.kid, record)
            case _:
                self.replace(record)

    def replace(self, identity: Identity) -> None:
        match identity:
            case Tenancy():
                self.tenancies[identity.id] = identity
            case ApiKey():
                _require(self.users, identity.user_id)
                self.api_keys[identity.user_id, identity.fingerprint] = identity
            case _:
                _require(self.tenancies, identity.tenancy_id)
                self.replace_in_tenancy(identity)

    def replace_in_tenancy(self, identity: Compartment | User | Group | Policy) -> None:
        match identity:
            case Compartment():
                self.compartments[identity.id] = identity
            case User():
                self.users[identity.id] = identity
            case Group():
                self.groups[identity.id] = identity
            case Policy():
                self.policies[identity.id] = identity
            case _:
                assert_never(identity)


class MemoryStore:
    """The store in memory. Its methods may be called from any thread."""

    def __init__(self) -> None:
        """An empty store."""
        self._kept = _Kept()
        self._writing = Lock()

    def write(self, records: Sequence[Record]) -> None:
        """See `stapes.store.port.Store.write`."""
        with self._writing:
            # A copy takes the records and then the place, so that nothing of a refused batch
            # stays and readers see whole batches only.
            kept = self._kept.copy()
            for record in records:
                kept.add(record)
            self._kept = kept

    def directory(self) -> Directory:
        """See `stapes.store.port.Store.directory`."""
        kept = self._kept.copy()
        return Directory(
            kept.tenancies, kept.compartments, kept.users, kept.groups, kept.policies, kept.api_keys
        )

    def signing_keys(self) -> list[SigningKeyAdded]:
        """See `stapes.store.port.Store.signing_keys`."""
        by_kid = sorted(self._kept.signing_keys.values(), key=lambda key: key.kid)
        return sorted(by_kid, key=lambda key: key.added_at, reverse=True)

    def retried_since(self, since: datetime) -> list[TokenIssued]:
        """See `stapes.store.port.Store.retried_since`."""
        return sorted(
            (
                token
                for token in self._kept.tokens.values()
                if token.retry_token is not None and token.issued_at >= since
            ),
            key=lambda token: (token.issued_at, token.session_id),
        )

    def last_stream(self, session_id: str) -> int:
        """See `stapes.store.port.Store.last_stream`."""
        return max((n for session, n in self._kept.opened if session == session_id), default=0)

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        kept = self._kept
        opened = [it for it in kept.opened.values() if session_id in {None, it.session_id}]
        opened.sort(key=lambda it: (it.session_id, -it.stream))
        opened.sort(key=lambda it: it.opened_at, reverse=True)
        return [_summary(kept, stream) for stream in opened[:limit]]

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
    token = kept.tokens.get(opened.session_id)
    finals = [final for final in kept.finals.values() if (final.session_id, final.stream) == key]
    return StreamSummary(
        session_id=opened.session_id,
        stream=opened.stream,
        compartment_id=opened.compartment_id,
        user_id=opened.user_id,
        opened_at=opened.opened_at,
        closed_at=closed.closed_at if closed else None,
        reason=closed.reason if closed else None,
        audio_ms=closed.audio_ms if closed else 0,
        finals=len(finals),
        words=sum(len(final.words) for final in finals),
        freeform_tags=dict(token.freeform_tags or {}) if token else {},
    )
