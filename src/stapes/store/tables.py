"""The tables, as SQLAlchemy metadata: what a migrated database looks like.

A column is named as the field of the record it holds, so that rows and records turn into each
other by name. No column could hold a token: its claims and the id of its key are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from stapes.identity.model import Binding, Verb
from stapes.protocol.words import Word

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware datetime as whole microseconds since 1970, UTC: exact, and in order as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Refuses a naive datetime with `TypeError`: its instant is unknown."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The same instant, in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Words(TypeDecorator[tuple[Word, ...]]):
    """Words as a JSON array of ``[text, start_ms, end_ms, confidence]``."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[list[Any]]:
        """One array for each word; the names are the same for all and need no repeating."""
        return [[word.text, word.start_ms, word.end_ms, word.confidence] for word in value]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Word, ...]:
        """The words again."""
        return tuple(Word(*fields) for fields in value)


class Names(TypeDecorator[Collection[str]]):
    """A collection of strings as a JSON array; ``kind`` makes the collection again."""

    impl = JSON
    cache_ok = True

    def __init__(self, kind: Callable[[Collection[str]], Collection[str]]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[str]:
        """A set is sorted, so that equal sets are equal rows."""
        return sorted(value) if isinstance(value, frozenset) else list(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Collection[str]:
        """The collection again."""
        return self.kind(value)


class Bindings(TypeDecorator[tuple[Binding, ...]]):
    """What policy statements were bound to, as ``[group_id, verb, compartment_id]`` each."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> list[list[Any]]:
        """One array for each binding."""
        return [[each.group_id, each.verb.value, each.compartment_id] for each in value]

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Binding, ...]:
        """The bindings again."""
        return tuple(Binding(group, Verb(verb), place) for group, verb, place in value)


def _optional_json() -> JSON:
    # An absent map is NULL, as other absent values are, and not the JSON word null.
    return JSON(none_as_null=True)


def _tenancy_id() -> Column[str]:
    return Column("tenancy_id", Text, ForeignKey("tenancies.id"), nullable=False)


metadata = MetaData()

tenancies = Table(
    "tenancies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
)

compartments = Table(
    "compartments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    _tenancy_id(),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _tenancy_id(),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _tenancy_id(),
    Column("user_ids", Names(frozenset), nullable=False),
)

policies = Table(
    "policies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _tenancy_id(),
    Column("statements", Names(tuple), nullable=False),
    Column("bindings", Bindings, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("user_id", Text, ForeignKey("users.id"), primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("public_pem", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("expires_at", Moment),
)

bearer_keys = Table(
    "bearer_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False),
    Column("sha256", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("expires_at", Moment),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("public_jwk", JSON, nullable=False),
    Column("added_at", Moment, nullable=False),
    Column("retires_at", Moment),
)

# What happened refers to identities by OCID alone, with no foreign key: a transcript outlives the
# user who spoke it.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("tenancy_id", Text, nullable=False),
    Column("compartment_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("kid", Text),
    Column("issued_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("claims", _optional_json()),
    Column("freeform_tags", _optional_json()),
    Column("defined_tags", _optional_json()),
    Column("retry_token", Text),
    Column("body_sha256", Text),
    Column("revoked_at", Moment),
    Column("server_id", Text, nullable=False),
    Index("sessions_by_time", "issued_at", "session_id"),
    Index("sessions_by_user", "user_id", "issued_at"),
    Index("sessions_by_expiry", "expires_at"),
)

streams = Table(
    "streams",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("tenancy_id", Text, nullable=False),
    Column("compartment_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("params", JSON, nullable=False),
    Column("engine", Text, nullable=False),
    Column("closed_at", Moment),
    Column("reason", Text),
    Column("audio_ms", BigInteger, default=0),
    Column("speech_ms", BigInteger, default=0),
    Column("wall_ms", BigInteger, nullable=False, default=0),
    Column("words", BigInteger, nullable=False, default=0),
    Column("server_id", Text, nullable=False),
    Index("streams_by_time", "opened_at"),
    Index("streams_by_end", "closed_at"),
)

finals = Table(
    "finals",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("words", Words, nullable=False),
    Column("word_count", Integer, nullable=False),
    Column("heard_at", Moment, nullable=False),
    ForeignKeyConstraint(["session_id", "stream"], ["streams.session_id", "streams.stream"]),
    Index("finals_by_time", "heard_at"),
)

resume_points = Table(
    "resume_points",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("audio_bytes", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("finals", JSON, nullable=False),
    Column("finals_sent", Integer, nullable=False),
    Column("speech_ms", BigInteger, nullable=False),
    Column("wall_ms", BigInteger, nullable=False),
    Column("words", BigInteger, nullable=False),
    ForeignKeyConstraint(["session_id", "stream"], ["streams.session_id", "streams.stream"]),
)

# Streams that are open on a server and that another one wants, until the first has answered.
contests = Table(
    "contests",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("server_id", Text, nullable=False),
    Column("resumes", Boolean, nullable=False),
)

# The last revocation of each subject: what it took back is also marked in ``sessions``.
revocations = Table(
    "revocations",
    metadata,
    Column("tenancy_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("revoked_at", Moment, nullable=False),
)

# Processes that serve, and when each last said so.
servers = Table(
    "servers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seen_at", Moment, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenancy_id", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# What servers hold in memory, counted up with every change to it. Whoever counts up holds the row's
# lock to the end of the transaction, so a number that was read stands for all changes before it.
versions = Table(
    "versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# `Store.check_writable` puts a row here and takes it back.
probes = Table("probes", metadata, Column("id", Integer, primary_key=True, autoincrement=False))
