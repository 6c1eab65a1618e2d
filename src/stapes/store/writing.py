"""How records become rows: everything that `stapes.store.sql` writes, in one transaction each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Update,
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
from stapes.store.port import (
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
)

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
    # One order for all transactions, or two could wait for each other.
    for name in sorted({COUNTED[kind] for kind in map(type, records) if kind in COUNTED}):
        _count_up(connection, name)
    for kind, alike in groupby(records, type):
        _write_alike(connection, kind, list(alike))


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, or replace those of the same primary key."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    values = {column.name: statement.excluded[column.name] for column in table.c}
    on_conflict = statement.on_conflict_do_update(index_elements=table.primary_key, set_=values)
    connection.execute(on_conflict, rows)


def to_row(record: Any) -> dict[str, Any]:
    """A record's fields by their columns' names."""
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, FinalHeard):
        row["word_count"] = len(record.words)
    return row


def _write_alike(connection: Connection, kind: type[Record], records: list[Any]) -> None:
    if kind in IDENTITIES:
        upsert(connection, IDENTITIES[kind], [to_row(record) for record in records])
    elif kind in HAPPENINGS:
        connection.execute(insert(HAPPENINGS[kind]), [to_row(record) for record in records])
    elif kind is Audited:
        _append(connection, records)
    elif kind is Revoked:
        _revoke(connection, records)
    else:
        for record in records:
            _write_one(connection, record)


def _write_one(
    connection: Connection,
    record: StreamMetered | StreamClosed | SigningKeyRetired | IdentityRemoved,
) -> None:
    match record:
        case StreamMetered() | StreamClosed():
            _update_stream(connection, record)
        case SigningKeyRetired():
            _retire(connection, record)
        case IdentityRemoved():
            _remove(connection, record.identity)


def _count_up(connection: Connection, name: str) -> None:
    versions = tables.versions
    up = update(versions).where(versions.c.name == name).values(number=versions.c.number + 1)
    connection.execute(up)


def _update_stream(connection: Connection, record: StreamMetered | StreamClosed) -> None:
    row = to_row(record)
    streams = tables.streams
    this = (streams.c.session_id == row.pop("session_id"), streams.c.stream == row.pop("stream"))
    if connection.execute(update(streams).where(*this).values(row)).rowcount == 0:
        raise RecordRefusedError(f"stream {record.stream} of {record.session_id} was never opened")


def _retire(connection: Connection, record: SigningKeyRetired) -> None:
    keys = tables.signing_keys
    this = keys.c.kid == record.kid
    if connection.execute(select(keys.c.kid).where(this)).first() is None:
        raise RecordRefusedError(f"there is no signing key {record.kid}")
    is_earlier = or_(keys.c.retires_at.is_(None), keys.c.retires_at > record.retires_at)
    connection.execute(update(keys).where(this, is_earlier).values(retires_at=record.retires_at))


def _revoke(connection: Connection, records: list[Revoked]) -> None:
    """Note revocations, and mark the sessions they take back: one statement for all of a kind."""
    rows = [asdict(record) for record in records]
    upsert(connection, tables.revocations, rows)
    for scope, taken in (("session", _this_session()), ("user", _all_of_user())):
        # A parameter's name may not be a column's.
        some = [
            {f"the_{name}": value for name, value in row.items() if name != "scope"}
            for row in rows
            if row["scope"] == scope
        ]
        if some:
            connection.execute(_mark(taken), some)


def _mark(taken: ColumnElement[bool]) -> Update:
    sessions = tables.sessions
    return (
        update(sessions)
        .where(
            taken,
            sessions.c.tenancy_id == bindparam("the_tenancy_id"),
            sessions.c.revoked_at.is_(None),
        )
        .values(revoked_at=bindparam("the_revoked_at"))
    )


def _this_session() -> ColumnElement[bool]:
    return tables.sessions.c.session_id == bindparam("the_subject")


def _all_of_user() -> ColumnElement[bool]:
    """What a user holds that can still be used."""
    sessions, streams = tables.sessions, tables.streams
    revoked_at = bindparam("the_revoked_at", type_=tables.Moment)
    is_live = exists().where(
        streams.c.session_id == sessions.c.session_id, streams.c.closed_at.is_(None)
    )
    return and_(
        sessions.c.user_id == bindparam("the_subject"),
        sessions.c.issued_at <= revoked_at,
        or_(sessions.c.expires_at > revoked_at, is_live),
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
    rows = []
    for record in records:
        seq += 1
        row = {**to_row(record), "at": record.at.astimezone(UTC), "seq": seq, "previous": previous}
        previous = digest(**row)
        rows.append({**row, "hash": previous})
    connection.execute(insert(audit), rows)
