"""What `stapes.store.sql` asks, as SQLAlchemy statements."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)

from stapes.store import tables
from stapes.store.port import Contest, Place, SessionFilter
from stapes.store.records import SessionCreated


def all_of(kind: type[Any], table: FromClause) -> Select[Any]:
    """The columns of a table that hold the fields of a record."""
    return select(*(table.c[field.name] for field in fields(kind)))


def retried_since(since: datetime, most: int) -> Select[Any]:
    """See `stapes.store.port.Store.retried_since`; newest first."""
    sessions = tables.sessions
    return (
        all_of(SessionCreated, sessions)
        .where(sessions.c.retry_token.is_not(None), sessions.c.issued_at >= since)
        .order_by(sessions.c.issued_at.desc(), sessions.c.session_id.desc())
        .limit(most)
    )


def stream_summaries() -> Select[Any]:
    """Streams with the number of their finals and the tags of their session."""
    streams, finals, sessions = tables.streams, tables.finals, tables.sessions
    own = (finals.c.session_id == streams.c.session_id, finals.c.stream == streams.c.stream)
    # A scalar subquery, so that only the streams of the page are counted.
    counted = select(func.count()).where(*own).scalar_subquery()
    named = (
        "session_id stream tenancy_id compartment_id user_id engine opened_at closed_at reason "
        "wall_ms words"
    )
    return select(
        *(streams.c[name] for name in named.split()),
        func.coalesce(streams.c.audio_ms, 0).label("audio_ms"),
        func.coalesce(streams.c.speech_ms, 0).label("speech_ms"),
        counted.label("finals"),
        sessions.c.freeform_tags,
    ).join_from(streams, sessions, sessions.c.session_id == streams.c.session_id, isouter=True)


def newest_streams(limit: int, session_id: str | None) -> Select[Any]:
    """See `stapes.store.port.Store.streams`."""
    streams = tables.streams
    query = stream_summaries().order_by(
        streams.c.opened_at.desc(), streams.c.session_id, streams.c.stream.desc()
    )
    if session_id is not None:
        query = query.where(streams.c.session_id == session_id)
    return query.limit(limit)


def resumable(session_id: str, ended_since: datetime) -> Select[Any]:
    """The newest stream of a session with its resume point, its columns named ``point_…``.

    Locked, so that of two servers that would take it over one comes after the other.
    """
    streams, points = tables.streams, tables.resume_points
    own = (points.c.session_id == streams.c.session_id, points.c.stream == streams.c.stream)
    newest = (
        select(func.max(streams.c.stream)).where(streams.c.session_id == session_id)
    ).scalar_subquery()
    is_recent = or_(streams.c.closed_at.is_(None), streams.c.closed_at >= ended_since)
    return (
        select(streams, *(column.label(f"point_{column.name}") for column in points.c))
        .join_from(streams, points, and_(*own))
        .where(streams.c.session_id == session_id, streams.c.stream == newest, is_recent)
        .with_for_update(of=streams)
    )


def newest_stream(session_id: str) -> Select[Any]:
    """The newest stream of a session: its number, whose it is, and whether it has ended."""
    streams = tables.streams
    return (
        select(streams.c.stream, streams.c.server_id, streams.c.closed_at)
        .where(streams.c.session_id == session_id)
        .order_by(streams.c.stream.desc())
        .limit(1)
    )


def contested_streams(server_id: str) -> Select[Any]:
    """See `stapes.store.port.Store.contests`."""
    contests, streams = tables.contests, tables.streams
    own = (streams.c.session_id == contests.c.session_id, streams.c.stream == contests.c.stream)
    return (
        all_of(Contest, contests)
        .join_from(contests, streams, and_(*own))
        .where(
            contests.c.server_id == server_id,
            streams.c.server_id == server_id,
            streams.c.closed_at.is_(None),
        )
    )


def closed_streams(since: datetime, until: datetime) -> Select[Any]:
    """See `stapes.store.port.Store.closed_streams`."""
    streams = tables.streams
    return (
        stream_summaries()
        .where(streams.c.closed_at >= since, streams.c.closed_at < until)
        .order_by(streams.c.closed_at, streams.c.session_id, streams.c.stream)
    )


def session_summaries(chosen: SessionFilter, now: datetime, after: Place | None) -> Select[Any]:
    """See `stapes.store.port.Store.sessions`; tags are compared by the caller."""
    sessions, streams = tables.sessions, tables.streams
    own = streams.c.session_id == sessions.c.session_id
    counted = select(func.count()).where(own).scalar_subquery()
    state = _state(now)
    named = (
        "session_id tenancy_id compartment_id user_id issued_at expires_at revoked_at claims "
        "freeform_tags defined_tags"
    )
    query = select(
        *(sessions.c[name] for name in named.split()),
        state.label("state"),
        counted.label("streams"),
    )
    wanted = [*_wanted(chosen), *([state == chosen.state] if chosen.state else [])]
    if after is not None:
        wanted.append(_behind(*after))
    return query.where(*wanted).order_by(sessions.c.issued_at.desc(), sessions.c.session_id)


def _state(now: datetime) -> ColumnElement[str]:
    sessions, streams = tables.sessions, tables.streams
    own = streams.c.session_id == sessions.c.session_id
    return case(
        (sessions.c.revoked_at.is_not(None), literal("REVOKED")),
        (exists().where(own, streams.c.closed_at.is_(None)), literal("LIVE")),
        (exists().where(own), literal("CLOSED")),
        (sessions.c.expires_at <= now, literal("EXPIRED")),
        else_=literal("ISSUED"),
    )


def _wanted(chosen: SessionFilter) -> list[ColumnElement[bool]]:
    sessions = tables.sessions
    found: list[ColumnElement[bool]] = []
    if chosen.compartment_ids is not None:
        found.append(sessions.c.compartment_id.in_(sorted(chosen.compartment_ids)))
    if chosen.tenancy_id is not None:
        found.append(sessions.c.tenancy_id == chosen.tenancy_id)
    if chosen.user_id is not None:
        found.append(sessions.c.user_id == chosen.user_id)
    if chosen.session_id is not None:
        found.append(sessions.c.session_id == chosen.session_id)
    if chosen.issued_from is not None:
        found.append(sessions.c.issued_at >= chosen.issued_from)
    if chosen.issued_before is not None:
        found.append(sessions.c.issued_at < chosen.issued_before)
    if chosen.tag is not None:
        found.append(sessions.c.freeform_tags.is_not(None))
    return found


def _behind(issued_at: datetime, session_id: str) -> ColumnElement[bool]:
    sessions = tables.sessions
    return or_(
        sessions.c.issued_at < issued_at,
        and_(sessions.c.issued_at == issued_at, sessions.c.session_id > session_id),
    )


def servers_elsewhere(server_id: str, since: datetime) -> Select[Any]:
    """Other servers that lived at or after a moment."""
    servers = tables.servers
    return select(servers.c.id).where(servers.c.id != server_id, servers.c.seen_at >= since)


def live_elsewhere(server_id: str, alive_since: datetime) -> Select[Any]:
    """Open streams of other servers that live, by tenancy, compartment and user."""
    streams, servers = tables.streams, tables.servers
    who = (streams.c.tenancy_id, streams.c.compartment_id, streams.c.user_id)
    return (
        select(*who, func.count().label("live"))
        .join_from(streams, servers, servers.c.id == streams.c.server_id)
        .where(
            streams.c.closed_at.is_(None),
            streams.c.server_id != server_id,
            servers.c.seen_at >= alive_since,
        )
        .group_by(*who)
    )


def minted_elsewhere(server_id: str, since: datetime) -> Select[Any]:
    """Tokens that other servers minted, by tenancy, compartment and user."""
    sessions = tables.sessions
    who = (sessions.c.tenancy_id, sessions.c.compartment_id, sessions.c.user_id)
    return (
        select(*who, func.count().label("minted"))
        .where(
            sessions.c.issued_at >= since,
            sessions.c.server_id != server_id,
            sessions.c.kid.is_not(None),
        )
        .group_by(*who)
    )


def lost_streams(alive_since: datetime) -> Select[Any]:
    """Open streams whose server has died, and when that was last seen.

    Those that another closes at this moment are left out.
    """
    streams, servers = tables.streams, tables.servers
    own = servers.c.id == streams.c.server_id
    is_alive = exists().where(own, servers.c.seen_at >= alive_since)
    seen_at = select(servers.c.seen_at).where(own).scalar_subquery().label("seen_at")
    lost = select(streams, seen_at).where(streams.c.closed_at.is_(None), ~is_alive)
    return lost.with_for_update(of=streams, skip_locked=True)


def forgettable_sessions(moment: datetime) -> Select[Any]:
    """OCIDs of sessions that expired and whose streams all ended before a moment."""
    sessions, streams = tables.sessions, tables.streams
    is_wanted = or_(streams.c.closed_at.is_(None), streams.c.closed_at >= moment)
    own = streams.c.session_id == sessions.c.session_id
    return select(sessions.c.session_id).where(
        sessions.c.expires_at < moment, ~exists().where(own, is_wanted)
    )
