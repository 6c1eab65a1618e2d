"""The store in a SQL database, by SQLAlchemy Core: SQLite or PostgreSQL.

What is asked is in `stapes.store.queries`, how records become rows in `stapes.store.writing`, how
they go in `stapes.store.forgetting`, which server has a stream in `stapes.store.claiming`, what is
special about a database in `stapes.store.sqlite` and `stapes.store.postgres`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, RowMapping, Select, delete, insert, select

from stapes.accounts.audit import AuditRow
from stapes.errors import StoreError
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
from stapes.store import claiming, postgres, queries, sqlite, tables
from stapes.store.faults import told_as_store_errors
from stapes.store.forgetting import PAGE, forget_finals, forget_points, forget_sessions
from stapes.store.port import (
    Contest,
    Place,
    SessionFilter,
    SessionSummary,
    StreamSummary,
    Use,
    Versions,
)
from stapes.store.records import (
    FinalHeard,
    Record,
    SessionCreated,
    SigningKeyAdded,
    StreamKey,
    StreamOpened,
    StreamResumable,
)
from stapes.store.schema import is_newest, migrate
from stapes.store.writing import IDENTITIES, change_stream, to_row, upsert, write_records
from stapes.tokens.revocations import LONGEST_TOKEN, Revocations

SERVERS_KEPT = timedelta(minutes=5)
"""How long it is known that a server lived: what it minted still counts."""

T = TypeVar("T")


class SqlStore:
    """The store in a SQL database. Its methods may be called from any thread."""

    def __init__(self, reading: Engine, writing: Engine) -> None:
        """Take over two engines of one pool, over a database that has the newest schema."""
        self._reading_engine = reading
        self._writing_engine = writing
        # SQLite has one writer at a time. Threads of ours wait here for their turn: who polls for
        # the database's own lock may lose every race until the time is up.
        self._is_sqlite = writing.dialect.name == "sqlite"
        self._turn: AbstractContextManager[Any] = Lock() if self._is_sqlite else nullcontext()

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
        revoked = tables.revocations
        recent = select(revoked).where(revoked.c.revoked_at > now - LONGEST_TOKEN)
        with self._reading() as connection:
            rows = connection.execute(recent).all()
        return Revocations(
            frozenset((it.tenancy_id, it.subject) for it in rows if it.scope == "session"),
            {(it.tenancy_id, it.subject): it.revoked_at for it in rows if it.scope == "user"},
        )

    def retried_since(self, since: datetime, *, most: int) -> list[SessionCreated]:
        """See `stapes.store.port.Store.retried_since`."""
        return self._records(SessionCreated, queries.retried_since(since, most))[::-1]

    def claim_stream(
        self, opened: StreamOpened, *, only_first: bool = False, won: Contest | None = None
    ) -> int | Contest | None:
        """See `stapes.store.port.Store.claim_stream`."""
        with self._writing() as connection:
            return claiming.claim(connection, opened, only_first=only_first, won=won)

    def continue_stream(
        self,
        session_id: str,
        server_id: str,
        ended_since: datetime,
        *,
        won: Contest | None = None,
    ) -> tuple[StreamOpened, StreamResumable] | Contest | None:
        """See `stapes.store.port.Store.continue_stream`."""
        with self._writing() as connection:
            return claiming.take_over(connection, session_id, server_id, ended_since, won)

    def taken_streams(self, server_id: str, streams: Collection[StreamKey]) -> list[StreamKey]:
        """See `stapes.store.port.Store.taken_streams`."""
        if not streams:
            return []
        with self._reading() as connection:
            return claiming.taken(connection, server_id, streams)

    def contest(self, contest: Contest) -> None:
        """See `stapes.store.port.Store.contest`."""
        with self._writing() as connection:
            upsert(connection, tables.contests, [to_row(contest)])

    def contests(self, server_id: str) -> list[Contest]:
        """See `stapes.store.port.Store.contests`."""
        return self._records(Contest, queries.contested_streams(server_id))

    def refuse_contest(self, contest: Contest) -> None:
        """See `stapes.store.port.Store.refuse_contest`."""
        with self._writing() as connection:
            claiming.end_contest(connection, contest.session_id)

    def contest_result(self, contest: Contest) -> bool | None:
        """See `stapes.store.port.Store.contest_result`."""
        with self._reading() as connection:
            return claiming.contest_result(connection, contest)

    def withdraw_stream(self, session_id: str, stream: int) -> None:
        """See `stapes.store.port.Store.withdraw_stream`."""
        with self._writing() as connection:
            claiming.withdraw(connection, session_id, stream)

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        with self._reading() as connection:
            rows = connection.execute(queries.newest_streams(limit, session_id)).mappings()
            return [_summary(row) for row in rows]

    def closed_streams(self, since: datetime, until: datetime) -> Iterator[StreamSummary]:
        """See `stapes.store.port.Store.closed_streams`."""
        query = queries.closed_streams(since, until).execution_options(yield_per=PAGE)
        with self._reading() as connection, connection.execute(query) as result:
            for row in result.mappings():
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
        with self._reading() as connection, connection.execute(query) as result:
            for row in result.mappings():
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
        count = self._page_by_page(forget_finals, tables.finals.c.session_id == session_id)
        self._page_by_page(forget_points, tables.streams.c.session_id == session_id)
        return count

    def forget_finals_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_finals_before`."""
        count = self._page_by_page(forget_finals, tables.finals.c.heard_at < moment)
        self.forget_points_before(moment)
        return count

    def forget_points_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_points_before`."""
        return self._page_by_page(forget_points, tables.streams.c.closed_at < moment)

    def forget_sessions_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_sessions_before`."""
        count = self._page_by_page(forget_sessions, moment)
        revocations = tables.revocations
        with self._writing() as connection:
            covers_none = revocations.c.revoked_at < moment - LONGEST_TOKEN
            connection.execute(delete(revocations).where(covers_none))
        return count

    def _page_by_page(self, forget: Callable[[Connection, T], int], meant: T) -> int:
        """Forget in many short transactions, between which others can write."""
        total = 0
        while True:
            with self._writing() as connection:
                count = forget(connection, meant)
            total += count
            if count < PAGE:
                break
        if total and self._is_sqlite:
            with self._turn, told_as_store_errors():
                sqlite.empty_log(self._writing_engine)
        return total

    def beat(self, server_id: str, now: datetime) -> None:
        """See `stapes.store.port.Store.beat`."""
        with self._writing() as connection:
            upsert(connection, tables.servers, [{"id": server_id, "seen_at": now}])

    def uses_elsewhere(
        self, server_id: str, alive_since: datetime, minted_since: datetime
    ) -> list[Use]:
        """See `stapes.store.port.Store.uses_elsewhere`."""
        others = queries.servers_elsewhere(server_id, minted_since - SERVERS_KEPT)
        live = queries.live_elsewhere(server_id, alive_since)
        minted = queries.minted_elsewhere(server_id, minted_since)
        with self._reading() as connection:
            if connection.execute(others).first() is None:
                return []  # it would look through all that was minted here, to find nothing
            return [
                Use(**row)
                for query in (live, minted)
                for row in connection.execute(query).mappings()
            ]

    def close_lost(self, alive_since: datetime) -> int:
        """See `stapes.store.port.Store.close_lost`."""
        servers = tables.servers
        with self._writing() as connection:
            lost = connection.execute(queries.lost_streams(alive_since)).all()
            for it in lost:
                metered_at = it.opened_at + timedelta(milliseconds=it.wall_ms)
                ended_at = max(metered_at, it.seen_at or metered_at)
                change_stream(
                    connection, it.session_id, it.stream, closed_at=ended_at, reason="lost"
                )
            over = servers.c.seen_at < alive_since - SERVERS_KEPT
            connection.execute(delete(servers).where(over))
        return len(lost)

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
        self._reading_engine.dispose()

    def _records(self, kind: type[T], query: Select[Any]) -> list[T]:
        with self._reading() as connection:
            return [kind(**row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with told_as_store_errors(), self._reading_engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._turn, told_as_store_errors(), self._writing_engine.begin() as connection:
            yield connection


def open_store(database: Path | SecretStr) -> SqlStore:
    """Open a database with the newest schema: a file of SQLite, or PostgreSQL by its URL.

    A file is made when it is not there. Raises `StoreError`, in which no password is, when the
    database cannot be opened or made, is none, or was made by a newer Stapes.
    """
    if isinstance(database, Path):
        name = str(database)
        reading, writing = _open_file(database)
    else:
        name = postgres.name_of(database)
        reading, writing = postgres.open_engines(database)
    try:
        with told_as_store_errors():
            _bring_up_to_date(reading, writing)
    except StoreError as error:
        writing.dispose()
        raise StoreError(f"cannot open the database {name}: {error}") from error
    return SqlStore(reading, writing)


def _bring_up_to_date(reading: Engine, writing: Engine) -> None:
    # Mostly it is, and then nobody has to wait for whoever writes at this moment.
    with reading.connect() as connection:
        if is_newest(connection):
            return
    with writing.begin() as connection:
        migrate(connection)


def _open_file(path: Path) -> tuple[Engine, Engine]:
    try:
        return sqlite.open_engines(path)
    except OSError as error:
        raise StoreError(f"cannot open the database {path}: {error.strerror}") from error


def _all(connection: Connection, kind: type[T]) -> list[T]:
    return [kind(**row) for row in connection.execute(select(IDENTITIES[kind])).mappings()]


def _summary(row: RowMapping) -> StreamSummary:
    return StreamSummary(**{**row, "freeform_tags": row["freeform_tags"] or {}})


def _has_tag(tags: dict[str, str] | None, wanted: tuple[str, str] | None) -> bool:
    return wanted is None or (tags or {}).get(wanted[0]) == wanted[1]
