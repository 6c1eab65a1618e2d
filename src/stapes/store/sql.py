"""The store in a SQL database, by SQLAlchemy Core. SQLite for now; see `stapes.store.sqlite`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    FromClause,
    RowMapping,
    Select,
    Table,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from stapes.errors import RecordRefusedError, StoreError
from stapes.identity.model import ApiKey, Compartment, Directory, Group, Policy, Tenancy, User
from stapes.store import tables
from stapes.store.port import (
    FinalHeard,
    Record,
    SigningKeyAdded,
    StreamClosed,
    StreamOpened,
    StreamSummary,
    TokenIssued,
)
from stapes.store.schema import migrate
from stapes.store.sqlite import for_writing, open_engine

IDENTITIES: dict[type[Any], Table] = {
    Tenancy: tables.tenancies,
    Compartment: tables.compartments,
    User: tables.users,
    Group: tables.groups,
    Policy: tables.policies,
    ApiKey: tables.api_keys,
}
HAPPENINGS: dict[type[Any], Table] = {
    TokenIssued: tables.tokens,
    StreamOpened: tables.streams,
    FinalHeard: tables.finals,
    SigningKeyAdded: tables.signing_keys,
}
T = TypeVar("T")


class SqlStore:
    """The store in a SQL database. Its methods may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine over; its database has the newest schema."""
        self._engine = engine
        self._writing_engine = for_writing(engine)

    def write(self, records: Sequence[Record]) -> None:
        """See `stapes.store.port.Store.write`."""
        with self._writing() as connection:
            for kind, alike in groupby(records, type):
                _write_alike(connection, kind, list(alike))

    def directory(self) -> Directory:
        """See `stapes.store.port.Store.directory`."""
        with self._reading() as connection:
            return Directory(
                tenancies={it.id: it for it in _all(connection, Tenancy)},
                compartments={it.id: it for it in _all(connection, Compartment)},
                users={it.id: it for it in _all(connection, User)},
                groups={it.id: it for it in _all(connection, Group)},
                policies={it.id: it for it in _all(connection, Policy)},
                api_keys={(it.user_id, it.fingerprint): it for it in _all(connection, ApiKey)},
            )

    def signing_keys(self) -> list[SigningKeyAdded]:
        """See `stapes.store.port.Store.signing_keys`."""
        keys = tables.signing_keys
        newest_first = _select(SigningKeyAdded, keys).order_by(keys.c.added_at.desc(), keys.c.kid)
        return self._records(SigningKeyAdded, newest_first)

    def retried_since(self, since: datetime) -> list[TokenIssued]:
        """See `stapes.store.port.Store.retried_since`."""
        tokens = tables.tokens
        query = (
            _select(TokenIssued, tokens)
            .where(tokens.c.retry_token.is_not(None), tokens.c.issued_at >= since)
            .order_by(tokens.c.issued_at, tokens.c.session_id)
        )
        return self._records(TokenIssued, query)

    def last_stream(self, session_id: str) -> int:
        """See `stapes.store.port.Store.last_stream`."""
        streams = tables.streams
        query = select(func.max(streams.c.stream)).where(streams.c.session_id == session_id)
        with self._reading() as connection:
            return connection.execute(query).scalar() or 0

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        streams = tables.streams
        query = _select_summaries().limit(limit)
        if session_id is not None:
            query = query.where(streams.c.session_id == session_id)
        with self._reading() as connection:
            return [_summary(row) for row in connection.execute(query).mappings()]

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """See `stapes.store.port.Store.finals`."""
        finals = tables.finals
        query = _select(FinalHeard, finals).where(finals.c.session_id == session_id)
        if stream is not None:
            query = query.where(finals.c.stream == stream)
        return self._records(FinalHeard, query.order_by(finals.c.stream, finals.c.number))

    def check_writable(self) -> None:
        """See `stapes.store.port.Store.check_writable`."""
        with self._writing() as connection:
            connection.execute(insert(tables.probes).values(id=1))
            connection.execute(tables.probes.delete())

    def close(self) -> None:
        """See `stapes.store.port.Store.close`."""
        self._engine.dispose()

    def _records(self, kind: type[T], query: Select[Any]) -> list[T]:
        with self._reading() as connection:
            return [kind(**row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _told_as_store_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _told_as_store_errors(), self._writing_engine.begin() as connection:
            yield connection


def open_store(path: Path) -> SqlStore:
    """Open the SQLite database at ``path`` with the newest schema; make it when it is not there.

    Raises `StoreError` when the file cannot be opened or made, is no database, or was made by a
    newer Stapes.
    """
    try:
        engine = open_engine(path)
    except OSError as error:
        raise StoreError(f"cannot open the database {path}: {error.strerror}") from error
    try:
        with _told_as_store_errors(), for_writing(engine).begin() as connection:
            migrate(connection)
    except StoreError as error:
        engine.dispose()
        raise StoreError(f"cannot open the database {path}: {error}") from error
    return SqlStore(engine)


@contextmanager
def _told_as_store_errors() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OverflowError, UnicodeEncodeError) as error:
        raise _as_store_error(error) from error


def _as_store_error(error: Exception) -> StoreError:
    # A value that cannot be bound is a ProgrammingError, an error raised by a column's own type, or
    # one that SQLAlchemy lets through: a number over 64 bits, a lone surrogate.
    match error:
        case IntegrityError() | DataError() | ProgrammingError():
            return RecordRefusedError(str(error.orig))
        case DBAPIError():
            return StoreError(str(error.orig))
        case StatementError() | OverflowError() | UnicodeEncodeError():
            return RecordRefusedError(str(getattr(error, "orig", error)))
        case _:
            return StoreError(str(error))


def _write_alike(connection: Connection, kind: type[Record], records: list[Any]) -> None:
    if kind is StreamClosed:
        for record in records:
            _close_stream(connection, record)
    elif kind in IDENTITIES:
        _replace(connection, IDENTITIES[kind], [_row(record) for record in records])
    else:
        connection.execute(insert(HAPPENINGS[kind]), [_row(record) for record in records])


def _row(record: Any) -> dict[str, Any]:
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, FinalHeard):
        row["word_count"] = len(record.words)
    return row


def _replace(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    upsert = dialect.insert(table)
    values = {column.name: upsert.excluded[column.name] for column in table.c}
    on_conflict = upsert.on_conflict_do_update(index_elements=table.primary_key, set_=values)
    connection.execute(on_conflict, rows)


def _close_stream(connection: Connection, closed: StreamClosed) -> None:
    row = _row(closed)
    streams = tables.streams
    this = (streams.c.session_id == row.pop("session_id"), streams.c.stream == row.pop("stream"))
    if connection.execute(update(streams).where(*this).values(row)).rowcount == 0:
        raise RecordRefusedError(f"stream {closed.stream} of {closed.session_id} was never opened")


def _select(kind: type[Any], table: FromClause) -> Select[Any]:
    return select(*(table.c[field.name] for field in fields(kind)))


def _all(connection: Connection, kind: type[T]) -> list[T]:
    return [kind(**row) for row in connection.execute(select(IDENTITIES[kind])).mappings()]


def _select_summaries() -> Select[Any]:
    streams, finals, tokens = tables.streams, tables.finals, tables.tokens
    own = (finals.c.session_id == streams.c.session_id, finals.c.stream == streams.c.stream)
    # Scalar subqueries, so that only the streams of the page are counted.
    counted = select(func.count()).where(*own).scalar_subquery()
    words = select(func.coalesce(func.sum(finals.c.word_count), 0)).where(*own).scalar_subquery()
    named = ("session_id", "stream", "compartment_id", "user_id", "opened_at", "closed_at")
    return (
        select(
            *(streams.c[name] for name in named),
            streams.c.reason,
            func.coalesce(streams.c.audio_ms, 0).label("audio_ms"),
            counted.label("finals"),
            words.label("words"),
            tokens.c.freeform_tags,
        )
        .join_from(streams, tokens, tokens.c.session_id == streams.c.session_id, isouter=True)
        .order_by(streams.c.opened_at.desc(), streams.c.session_id, streams.c.stream.desc())
    )


def _summary(row: RowMapping) -> StreamSummary:
    return StreamSummary(**{**row, "freeform_tags": row["freeform_tags"] or {}})
