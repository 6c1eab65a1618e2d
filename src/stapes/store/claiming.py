"""Which server has a session's stream: how one is claimed, continued, contested and given back.

Each runs in a transaction of the caller's; `stapes.store.port.Store` says what is promised.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select

from stapes.store import queries, tables
from stapes.store.port import Contest
from stapes.store.records import StreamKey, StreamOpened, StreamResumable
from stapes.store.writing import change_stream, insert_new, to_row


def claim(
    connection: Connection, opened: StreamOpened, *, only_first: bool, won: Contest | None
) -> int | Contest | None:
    """Insert the stream under the next free number of its session, whoever else does so now."""
    newest = queries.newest_stream(opened.session_id)
    while True:
        last = connection.execute(newest).first()
        if only_first and last is not None:
            return None
        if last is not None:
            held = _held(opened.session_id, last, opened.server_id, won)
            if held is not None:
                return held
            end_contest(connection, opened.session_id)
        number = last.stream + 1 if last is not None else 1
        if insert_new(connection, tables.streams, to_row(replace(opened, stream=number))):
            return number


def take_over(
    connection: Connection,
    session_id: str,
    server_id: str,
    ended_since: datetime,
    won: Contest | None,
) -> tuple[StreamOpened, StreamResumable] | Contest | None:
    """Open the newest stream of a session again, on this server, where it can be continued."""
    found = connection.execute(queries.resumable(session_id, ended_since)).first()
    if found is None:
        return None
    held = _held(session_id, found, server_id, won, resumes=True)
    if held is not None:
        return held
    end_contest(connection, session_id)
    row = found._mapping
    opened = StreamOpened(**{name: row[name] for name in StreamOpened.__slots__})
    point = StreamResumable(**{name: row[f"point_{name}"] for name in StreamResumable.__slots__})
    changes = {"server_id": server_id, "closed_at": None, "reason": None}
    change_stream(connection, session_id, opened.stream, **changes)
    return replace(opened, server_id=server_id), point


def taken(
    connection: Connection, server_id: str, streams: Collection[StreamKey]
) -> list[StreamKey]:
    """Which of these streams of a server go on elsewhere."""
    table = tables.streams
    newest = (
        select(table.c.session_id, func.max(table.c.stream).label("newest"))
        .where(
            table.c.session_id.in_(sorted({session_id for session_id, _ in streams})),
            table.c.server_id != server_id,
        )
        .group_by(table.c.session_id)
    )
    numbers = {row.session_id: row.newest for row in connection.execute(newest)}
    return [key for key in streams if numbers.get(key[0], 0) >= key[1]]


def withdraw(connection: Connection, session_id: str, stream: int) -> None:
    """Delete a stream that came to nothing."""
    for table in (tables.resume_points, tables.streams):
        this = (table.c.session_id == session_id, table.c.stream == stream)
        connection.execute(delete(table).where(*this))


def contest_result(connection: Connection, contest: Contest) -> bool | None:
    """Whether the stream was let go of; False when that was refused, None while neither."""
    contests = tables.contests
    asked = select(contests.c.stream).where(contests.c.session_id == contest.session_id)
    last = connection.execute(queries.newest_stream(contest.session_id)).first()
    is_asked = connection.execute(asked).first() is not None
    contested = (contest.stream, contest.server_id, None)
    if last is None or (last.stream, last.server_id, last.closed_at) != contested:
        return True
    return None if is_asked else False


def end_contest(connection: Connection, session_id: str) -> None:
    """Ask no longer for a session's stream."""
    contests = tables.contests
    connection.execute(delete(contests).where(contests.c.session_id == session_id))


def _held(
    session_id: str, newest: Row[Any], server_id: str, won: Contest | None, *, resumes: bool = False
) -> Contest | None:
    """The newest stream of a session, when it is open on another server and was not won there."""
    held = Contest(session_id, newest.stream, newest.server_id, resumes)
    is_held = newest.closed_at is None and newest.server_id != server_id
    return held if is_held and held != won else None
