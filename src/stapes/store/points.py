"""Resume points: what of the finals is in them, and which are over."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, select, update

from stapes.store import tables
from stapes.store.records import StreamKey


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


def forget_in_points(connection: Connection, streams: Collection[StreamKey]) -> None:
    """Take out of the resume points of streams the finals that are not in the store any more."""
    points = tables.resume_points
    for session_id, stream in sorted(streams):
        this = (points.c.session_id == session_id, points.c.stream == stream)
        sent = connection.execute(select(points.c.finals).where(*this)).scalar_one_or_none()
        if sent:
            kept = only_kept(connection, session_id, stream, sent)
            connection.execute(update(points).where(*this).values(finals=kept))


def ended_points(meant: ColumnElement[bool]) -> Select[Any]:
    """Keys of resume points whose streams have ended and are meant."""
    streams, points = tables.streams, tables.resume_points
    own = (points.c.session_id == streams.c.session_id, points.c.stream == streams.c.stream)
    return (
        select(*points.primary_key)
        .join_from(points, streams, and_(*own))
        .where(streams.c.closed_at.is_not(None), meant)
    )
