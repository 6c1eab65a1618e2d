"""How what was kept is forgotten: finals, what streams could be continued with, and sessions.

Each takes a page of what is meant, in a transaction of the caller's, and tells how much it was.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select, tuple_, update

from stapes.store import queries, tables
from stapes.store.records import StreamKey

PAGE = 500
OF_A_SESSION = (
    tables.contests,
    tables.resume_points,
    tables.finals,
    tables.streams,
    tables.sessions,
)


def only_kept(
    connection: Connection, session_id: str, stream: int, sent: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Of finals as they were sent, those that are in the store; they stay until the end of this."""
    finals = tables.finals
    numbers = select(finals.c.number).where(
        finals.c.session_id == session_id,
        finals.c.stream == stream,
        finals.c.number.in_([each["number"] for each in sent]),
    )
    kept = set(connection.execute(numbers.with_for_update(read=True)).scalars())
    return [each for each in sent if each["number"] in kept]


def forget_finals(connection: Connection, meant: ColumnElement[bool]) -> int:
    """Delete finals, and take them out of what their streams could be continued with."""
    finals = tables.finals
    page = select(*finals.primary_key).where(meant).limit(PAGE)
    keys = [tuple(row) for row in connection.execute(page)]
    connection.execute(delete(finals).where(tuple_(*finals.primary_key).in_(keys)))
    _forget_in_points(connection, {(session_id, stream) for session_id, stream, _ in keys})
    return len(keys)


def forget_points(connection: Connection, meant: ColumnElement[bool]) -> int:
    """Delete the resume points of such streams as have ended."""
    streams, points = tables.streams, tables.resume_points
    own = (points.c.session_id == streams.c.session_id, points.c.stream == streams.c.stream)
    page = (
        select(*points.primary_key)
        .join_from(points, streams, and_(*own))
        .where(streams.c.closed_at.is_not(None), meant)
        .limit(PAGE)
    )
    this = tuple_(*points.primary_key)
    return connection.execute(delete(points).where(this.in_(page))).rowcount


def forget_sessions(connection: Connection, moment: datetime) -> int:
    """Delete sessions that were over before a moment, and all that they left."""
    page = connection.execute(queries.forgettable_sessions(moment).limit(PAGE)).scalars().all()
    for table in OF_A_SESSION:
        connection.execute(delete(table).where(table.c.session_id.in_(page)))
    return len(page)


def _forget_in_points(connection: Connection, streams: Collection[StreamKey]) -> None:
    """Take out of the resume points of streams the finals that are not in the store any more."""
    points = tables.resume_points
    for session_id, stream in sorted(streams):
        this = (points.c.session_id == session_id, points.c.stream == stream)
        sent = connection.execute(select(points.c.finals).where(*this)).scalar_one_or_none()
        if sent:
            kept = only_kept(connection, session_id, stream, sent)
            connection.execute(update(points).where(*this).values(finals=kept))
