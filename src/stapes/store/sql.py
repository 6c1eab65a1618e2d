"""The store in a SQL database, by SQLAlchemy Core. See `stapes.store.sqlite`.

What is asked is in `stapes.store.queries`, how records become rows in `stapes.store.writing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    RowMapping,
    Select,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from stapes.accounts.audit import AuditRow
from stapes.errors import RecordRefusedError, StoreError
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
from stapes.store import queries, tables
from stapes.store.port import (
    FinalHeard,
    Place,
    Record,
    SessionCreated,
    SessionFilter,
    SessionSummary,
    SigningKeyAdded,
    StreamOpened,
    StreamSummary,
    Use,
    Versions,
)
from stapes.store.schema import migrate
from stapes.store.sqlite import for_writing, open_engine
from stapes.store.writing import IDENTITIES, to_row, upsert, write_records
from stapes.tokens.revocations import Revocations

LONGEST_TOKEN = timedelta(hours=25)
"""No token lives longer, skew included: an older revocation of a user covers none."""

SKEW = timedelta(hours=1)
"""More than any clock skew that the settings allow."""

PAGE = 500
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
            write_records(connection, records)

    def versions(self) -> Versions:
        """See `stapes.store.port.Store.versions`."""
        table = tables.versions
        with self._reading() as connection:
            rows = connection.execute(select(table.c.name, table.c.number))
            numbers = {row.name: row.number for row in rows}
        return Versions(numbers["identities"], numbers["keys"], numbers["revocations"])

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
                bearer_keys={it.id: it for it in _all(connection, BearerKey)},
            )

    def signing_keys(self) -> list[SigningKeyAdded]:
        """See `stapes.store.port.Store.signing_keys`."""
        keys = tables.signing_keys
        every = queries.all_of(SigningKeyAdded, keys)
        return self._records(SigningKeyAdded, every.order_by(keys.c.added_at.desc(), keys.c.kid))

    def revocations(self, now: datetime) -> Revocations:
        """See `stapes.store.port.Store.revocations`."""
        sessions, revoked = tables.sessions, tables.revocations
        taken = select(sessions.c.session_id).where(
            sessions.c.revoked_at.is_not(None), sessions.c.expires_at > now - SKEW
        )
        # A session is named here too, since its row may be one that was not written yet.
        recent = select(revoked).where(revoked.c.revoked_at > now - LONGEST_TOKEN)
        with self._reading() as connection:
            marked = connection.execute(taken).scalars().all()
            rows = connection.execute(recent).all()
        return Revocations(
            frozenset([*marked, *(row.subject for row in rows if row.scope == "session")]),
            {row.subject: row.revoked_at for row in rows if row.scope == "user"},
        )

    def retried_since(self, since: datetime) -> list[SessionCreated]:
        """See `stapes.store.port.Store.retried_since`."""
        return self._records(SessionCreated, queries.retried_since(since))

    def claim_stream(self, opened: StreamOpened, *, only_first: bool = False) -> int | None:
        """See `stapes.store.port.Store.claim_stream`."""
        while True:
            try:
                return self._claim(opened, only_first=only_first)
            except RecordRefusedError:
                if only_first or self._last_stream(opened.session_id) == 0:
                    raise

    def _claim(self, opened: StreamOpened, *, only_first: bool) -> int | None:
        with self._writing() as connection:
            number = _last_stream(connection, opened.session_id) + 1
            if only_first and number > 1:
                return None
            row = to_row(replace(opened, stream=number))
            connection.execute(insert(tables.streams), row)
            return number

    def withdraw_stream(self, session_id: str, stream: int) -> None:
        """See `stapes.store.port.Store.withdraw_stream`."""
        streams = tables.streams
        this = (streams.c.session_id == session_id, streams.c.stream == stream)
        with self._writing() as connection:
            connection.execute(delete(streams).where(*this))

    def _last_stream(self, session_id: str) -> int:
        with self._reading() as connection:
            return _last_stream(connection, session_id)

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        with self._reading() as connection:
            rows = connection.execute(queries.newest_streams(limit, session_id)).mappings()
            return [_summary(row) for row in rows]

    def closed_streams(self, since: datetime, until: datetime) -> Iterator[StreamSummary]:
        """See `stapes.store.port.Store.closed_streams`."""
        query = queries.closed_streams(since, until).execution_options(yield_per=PAGE)
        with self._reading() as connection:
            for row in connection.execute(query).mappings():
                yield _summary(row)

    def sessions(
        self, chosen: SessionFilter, now: datetime, *, limit: int, after: Place | None = None
    ) -> list[SessionSummary]:
        """See `stapes.store.port.Store.sessions`."""
        found: list[SessionSummary] = []
        query = queries.session_summaries(chosen, now, after)
        if chosen.tag is None:
            query = query.limit(limit)
        query = query.execution_options(yield_per=PAGE)
        with self._reading() as connection:
            for row in connection.execute(query).mappings():
                # A tag's key may hold any sign; compared here, none of them means anything in SQL.
                if len(found) < limit and _has_tag(row["freeform_tags"], chosen.tag):
                    found.append(SessionSummary(**row))
                if len(found) >= limit:
                    break
        return found

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """See `stapes.store.port.Store.finals`."""
        finals = tables.finals
        query = queries.all_of(FinalHeard, finals).where(finals.c.session_id == session_id)
        if stream is not None:
            query = query.where(finals.c.stream == stream)
        return self._records(FinalHeard, query.order_by(finals.c.stream, finals.c.number))

    def forget_finals(self, session_id: str) -> int:
        """See `stapes.store.port.Store.forget_finals`."""
        finals = tables.finals
        with self._writing() as connection:
            this = finals.c.session_id == session_id
            return connection.execute(delete(finals).where(this)).rowcount

    def forget_finals_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_finals_before`."""
        finals = tables.finals
        with self._writing() as connection:
            return connection.execute(delete(finals).where(finals.c.heard_at < moment)).rowcount

    def forget_sessions_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_sessions_before`."""
        sessions, streams, finals = tables.sessions, tables.streams, tables.finals
        own = streams.c.session_id == sessions.c.session_id
        is_wanted = func.coalesce(streams.c.closed_at, moment) >= moment
        old = select(sessions.c.session_id).where(
            sessions.c.expires_at < moment, ~exists().where(own, is_wanted)
        )
        with self._writing() as connection:
            ids = connection.execute(old).scalars().all()
            for start in range(0, len(ids), PAGE):
                page = ids[start : start + PAGE]
                for table in (finals, streams, sessions):
                    connection.execute(delete(table).where(table.c.session_id.in_(page)))
        return len(ids)

    def beat(self, server_id: str, now: datetime) -> None:
        """See `stapes.store.port.Store.beat`."""
        with self._writing() as connection:
            upsert(connection, tables.servers, [{"id": server_id, "seen_at": now}])

    def uses_elsewhere(
        self, server_id: str, alive_since: datetime, minted_since: datetime
    ) -> list[Use]:
        """See `stapes.store.port.Store.uses_elsewhere`."""
        live = queries.live_elsewhere(server_id, alive_since)
        minted = queries.minted_elsewhere(server_id, minted_since)
        with self._reading() as connection:
            return [
                Use(**row)
                for query in (live, minted)
                for row in connection.execute(query).mappings()
            ]

    def close_lost(self, alive_since: datetime) -> int:
        """See `stapes.store.port.Store.close_lost`."""
        streams, servers = tables.streams, tables.servers
        is_alive = exists().where(
            servers.c.id == streams.c.server_id, servers.c.seen_at >= alive_since
        )
        lost = select(streams).where(streams.c.closed_at.is_(None), ~is_alive)
        with self._writing() as connection:
            rows = connection.execute(lost).all()
            for row in rows:
                this = (streams.c.session_id == row.session_id, streams.c.stream == row.stream)
                ended = row.opened_at + timedelta(milliseconds=row.wall_ms)
                connection.execute(
                    update(streams).where(*this).values(closed_at=ended, reason="lost")
                )
            connection.execute(delete(servers).where(servers.c.seen_at < alive_since))
        return len(rows)

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """See `stapes.store.port.Store.audit`."""
        audit = tables.audit
        behind = queries.all_of(AuditRow, audit).where(audit.c.seq > after)
        return self._records(AuditRow, behind.order_by(audit.c.seq).limit(limit))

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


def _all(connection: Connection, kind: type[T]) -> list[T]:
    return [kind(**row) for row in connection.execute(select(IDENTITIES[kind])).mappings()]


def _last_stream(connection: Connection, session_id: str) -> int:
    streams = tables.streams
    newest = select(func.max(streams.c.stream)).where(streams.c.session_id == session_id)
    return connection.execute(newest).scalar() or 0


def _summary(row: RowMapping) -> StreamSummary:
    return StreamSummary(**{**row, "freeform_tags": row["freeform_tags"] or {}})


def _has_tag(tags: dict[str, str] | None, wanted: tuple[str, str] | None) -> bool:
    return wanted is None or (tags or {}).get(wanted[0]) == wanted[1]
