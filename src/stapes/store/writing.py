"""How records become rows: everything that `stapes.store.sql` writes, in one transaction each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from stapes.accounts.audit import FIRST_PREVIOUS, digest
from stapes.errors import RecordRefusedError
from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Compartment,
    Group,
    Policy,
    Tenancy,
    User,
)
from stapes.store import tables
from stapes.store.forgetting import only_kept
from stapes.store.inserting import insert_rows
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
    StreamMetered,
    StreamOpened,
    StreamResumable,
)
from stapes.tokens.revocations import first_uncovered

IDENTITIES: dict[type[Any], Table] = {
    Tenancy: tables.tenancies,
    Compartment: tables.compartments,
    User: tables.users,
    Group: tables.groups,
    Policy: tables.policies,
    ApiKey: tables.api_keys,
    BearerKey: tables.bearer_keys,
}
HAPPENINGS: dict[type[Any], Table] = {
    SessionCreated: tables.sessions,
    StreamOpened: tables.streams,
    FinalHeard: tables.finals,
    SigningKeyAdded: tables.signing_keys,
}
COUNTED: dict[type[Any], str] = {
    **dict.fromkeys((*IDENTITIES, IdentityRemoved), "identities"),
    **dict.fromkeys((SigningKeyAdded, SigningKeyRetired), "keys"),
    Revoked: "revocations",
}
"""Which version a change counts up."""


def write_records(connection: Connection, records: Sequence[Record]) -> None:
    """Write records in their order. Raises `RecordRefusedError` for one that breaks a rule."""
    kinds = {type(record) for record in records}
    # One order for all transactions, or two could wait for each other; the audit log comes last.
    for name in sorted({COUNTED[kind] for kind in kinds if kind in COUNTED}):
        _count_up(connection, name)
    if SessionCreated in kinds:
        _hold(connection, "revocations")
    others = [record for record in records if not isinstance(record, Audited)]
    for kind, alike in groupby(others, type):
        _write_alike(connection, kind, list(alike))
    # Nothing refers to an audit row: behind the others they can be chained all at once.
    if audited := [record for record in records if isinstance(record, Audited)]:
        _append(connection, audited)


def upsert(
    connection: Connection, table: Table, rows: list[dict[str, Any]], *, newest: str | None = None
) -> None:
    """Insert rows, or replace those of the same primary key.

    Where the column ``newest`` of a row that is there is later, that row stays.
    """
    statement = _insert(connection, table)
    new = statement.excluded
    on_conflict = statement.on_conflict_do_update(
        index_elements=table.primary_key,
        set_={column.name: new[column.name] for column in table.c},
        where=None if newest is None else new[newest] > table.c[newest],
    )
    connection.execute(on_conflict, rows)


def insert_new(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless there is one of its primary key; says whether it was inserted.

    Waits for another transaction that is about to insert the same.
    """
    statement = _insert(connection, table).on_conflict_do_nothing(index_elements=table.primary_key)
    kept = statement.returning(*table.primary_key)
    return connection.execute(kept, row).first() is not None


def to_row(record: Any) -> dict[str, Any]:
    """A record's fields by their columns' names."""
    names, values = _reading(record.__class__)
    row = dict(zip(names, values(record), strict=True))
    if isinstance(record, FinalHeard):
        row["word_count"] = len(record.words)
    return row


@cache
def _reading(kind: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """A record's fields, and what reads them all."""
    names = tuple(field.name for field in fields(kind))
    return names, attrgetter(*names)


def change_stream(connection: Connection, session_id: str, stream: int, **values: Any) -> bool:
    """Set columns of a stream; says whether there is one."""
    streams = tables.streams
    this = (streams.c.session_id == session_id, streams.c.stream == stream)
    return connection.execute(update(streams).where(*this).values(values)).rowcount == 1


def _insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _write_alike(connection: Connection, kind: type[Record], records: list[Any]) -> None:
    if kind in IDENTITIES:
        upsert(connection, IDENTITIES[kind], [to_row(record) for record in records])
    elif kind is SessionCreated:
        names, values = _reading(records[0].__class__)
        insert_rows(connection, tables.sessions, names, [values(record) for record in records])
        _mark_late(connection, min(record.issued_at for record in records))
    elif kind in HAPPENINGS:
        connection.execute(insert(HAPPENINGS[kind]), [to_row(record) for record in records])
    elif kind is Revoked:
        _revoke(connection, records)
    else:
        for record in records:
            _write_one(connection, record)


def _write_one(
    connection: Connection,
    record: StreamMetered | StreamResumable | StreamClosed | SigningKeyRetired | IdentityRemoved,
) -> None:
    match record:
        case StreamMetered() | StreamClosed():
            _update_stream(connection, record)
        case StreamResumable():
            kept = only_kept(connection, record.session_id, record.stream, record.finals)
            upsert(connection, tables.resume_points, [{**to_row(record), "finals": kept}])
        case SigningKeyRetired():
            _retire(connection, record)
        case IdentityRemoved():
            _remove(connection, record.identity)


def _count_up(connection: Connection, name: str) -> None:
    versions = tables.versions
    up = update(versions).where(versions.c.name == name).values(number=versions.c.number + 1)
    connection.execute(up)


def _hold(connection: Connection, name: str) -> None:
    """Let nobody count up before this transaction ends. SQLite has one writer at a time anyway."""
    versions = tables.versions
    row = select(versions.c.number).where(versions.c.name == name)
    connection.execute(row.with_for_update(read=True))


def _update_stream(connection: Connection, record: StreamMetered | StreamClosed) -> None:
    row = to_row(record)
    server_id = row.pop("server_id", None)
    if server_id is not None and _is_taken(connection, record.session_id, record.stream, server_id):
        return
    if not change_stream(connection, **row):
        raise RecordRefusedError(f"stream {record.stream} of {record.session_id} was never opened")
    if isinstance(record, StreamClosed) and record.reason not in RESUMABLE_ENDS:
        points = tables.resume_points
        this = (points.c.session_id == record.session_id, points.c.stream == record.stream)
        connection.execute(delete(points).where(*this))


def _is_taken(connection: Connection, session_id: str, stream: int, server_id: str) -> bool:
    """Whether another server has a stream; that does not change until the end of this."""
    streams = tables.streams
    this = (streams.c.session_id == session_id, streams.c.stream == stream)
    has_it = select(streams.c.server_id).where(*this).with_for_update()
    return connection.execute(has_it).scalar() not in {None, server_id}


def _retire(connection: Connection, record: SigningKeyRetired) -> None:
    keys = tables.signing_keys
    this = keys.c.kid == record.kid
    if connection.execute(select(keys.c.kid).where(this)).first() is None:
        raise RecordRefusedError(f"there is no signing key {record.kid}")
    is_earlier = or_(keys.c.retires_at.is_(None), keys.c.retires_at > record.retires_at)
    connection.execute(update(keys).where(this, is_earlier).values(retires_at=record.retires_at))


def _revoke(connection: Connection, records: list[Revoked]) -> None:
    rows = [to_row(record) for record in records]
    upsert(connection, tables.revocations, rows, newest="revoked_at")
    _mark(connection, rows)


def _mark_late(connection: Connection, issued_from: datetime) -> None:
    """Sessions are written behind the answer: they may have been revoked before."""
    revocations = tables.revocations
    query = select(revocations).where(
        revocations.c.revoked_at >= issued_from.replace(microsecond=0)
    )
    _mark(connection, [dict(row) for row in connection.execute(query).mappings()])


def _mark(connection: Connection, revoked: Sequence[Mapping[str, Any]]) -> None:
    """Mark the sessions that were taken back, by one statement for all revocations of a kind.

    The first time is the one that counts.
    """
    sessions = tables.sessions
    ours = (sessions.c.tenancy_id == bindparam("of_tenancy"), sessions.c.revoked_at.is_(None))
    for scope, taken in (("session", _this_session()), ("user", _all_of_user())):
        rows = [
            {
                "of_tenancy": row["tenancy_id"],
                "of_subject": row["subject"],
                "at": row["revoked_at"],
                "uncovered_from": first_uncovered(row["revoked_at"]),
            }
            for row in revoked
            if row["scope"] == scope
        ]
        if rows:
            marked = update(sessions).where(taken, *ours).values(revoked_at=bindparam("at"))
            connection.execute(marked, rows)


def _this_session() -> ColumnElement[bool]:
    return tables.sessions.c.session_id == bindparam("of_subject")


def _all_of_user() -> ColumnElement[bool]:
    """What a user holds that could still be used."""
    sessions, streams = tables.sessions, tables.streams
    is_live = exists().where(
        streams.c.session_id == sessions.c.session_id, streams.c.closed_at.is_(None)
    )
    return and_(
        sessions.c.user_id == bindparam("of_subject"),
        sessions.c.issued_at < bindparam("uncovered_from", type_=tables.Moment),
        or_(sessions.c.expires_at > bindparam("at", type_=tables.Moment), is_live),
    )


def _remove(connection: Connection, identity: Any) -> None:
    if isinstance(identity, User):
        for keys in (tables.api_keys, tables.bearer_keys):
            connection.execute(delete(keys).where(keys.c.user_id == identity.id))
    table = IDENTITIES[type(identity)]
    this = [column == getattr(identity, column.name) for column in table.primary_key]
    if connection.execute(delete(table).where(*this)).rowcount == 0:
        raise RecordRefusedError(f"there is no such {type(identity).__name__}")


def _append(connection: Connection, records: list[Audited]) -> None:
    """Chain rows to the last one. The row's lock lets one transaction at a time do that."""
    _count_up(connection, "audit")
    audit = tables.audit
    newest = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    last = connection.execute(newest).first()
    seq, previous = (0, FIRST_PREVIOUS) if last is None else (last.seq, last.hash)
    names, values = _reading(Audited)
    rows = []
    for record in records:
        seq += 1
        before, previous = (
            previous,
            digest(
                seq=seq,
                at=record.at.astimezone(UTC),
                actor=record.actor,
                action=record.action,
                subject=record.subject,
                tenancy_id=record.tenancy_id,
                details=record.details,
                previous=previous,
            ),
        )
        rows.append((*values(record), seq, before, previous))
    insert_rows(connection, audit, (*names, "seq", "previous", "hash"), rows)
