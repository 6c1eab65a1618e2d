"""What the store in memory tells of streams and sessions, and which of them are asked for."""

from __future__ import annotations

from datetime import datetime

from stapes.store.kept import Kept
from stapes.store.port import Place, SessionFilter, SessionState, SessionSummary, StreamSummary
from stapes.store.records import SessionCreated, StreamMetered, StreamOpened


def stream_summary(kept: Kept, opened: StreamOpened) -> StreamSummary:
    """One stream, with what it had so far."""
    key = (opened.session_id, opened.stream)
    closed = kept.closed.get(key)
    used = kept.metered.get(key, StreamMetered(*key, 0, 0, 0, 0))
    session = kept.sessions.get(opened.session_id)
    finals = [final for final in kept.finals.values() if (final.session_id, final.stream) == key]
    return StreamSummary(
        session_id=opened.session_id,
        stream=opened.stream,
        tenancy_id=opened.tenancy_id,
        compartment_id=opened.compartment_id,
        user_id=opened.user_id,
        engine=opened.engine,
        opened_at=opened.opened_at,
        closed_at=closed.closed_at if closed else None,
        reason=closed.reason if closed else None,
        audio_ms=used.audio_ms,
        speech_ms=used.speech_ms,
        wall_ms=used.wall_ms,
        words=used.words,
        finals=len(finals),
        freeform_tags=dict(session.freeform_tags or {}) if session else {},
    )


def session_summary(kept: Kept, session: SessionCreated, now: datetime) -> SessionSummary:
    """One session, as it stands at ``now``."""
    streams = [key for key in kept.opened if key[0] == session.session_id]
    return SessionSummary(
        session_id=session.session_id,
        tenancy_id=session.tenancy_id,
        compartment_id=session.compartment_id,
        user_id=session.user_id,
        issued_at=session.issued_at,
        expires_at=session.expires_at,
        revoked_at=kept.revoked.get(session.session_id),
        state=_state(kept, session, now),
        streams=len(streams),
        claims=session.claims,
        freeform_tags=session.freeform_tags,
        defined_tags=session.defined_tags,
    )


def _state(kept: Kept, session: SessionCreated, now: datetime) -> SessionState:
    if session.session_id in kept.revoked:
        return "REVOKED"
    if kept.is_live(session.session_id):
        return "LIVE"
    if any(key[0] == session.session_id for key in kept.opened):
        return "CLOSED"
    return "EXPIRED" if session.expires_at <= now else "ISSUED"


def is_chosen(it: SessionSummary, chosen: SessionFilter) -> bool:
    """Whether a filter lets a session through."""
    return (
        (chosen.compartment_ids is None or it.compartment_id in chosen.compartment_ids)
        and chosen.tenancy_id in {None, it.tenancy_id}
        and chosen.user_id in {None, it.user_id}
        and chosen.session_id in {None, it.session_id}
        and chosen.state in {None, it.state}
        and (chosen.tag is None or (it.freeform_tags or {}).get(chosen.tag[0]) == chosen.tag[1])
        and (chosen.issued_from is None or it.issued_at >= chosen.issued_from)
        and (chosen.issued_before is None or it.issued_at < chosen.issued_before)
    )


def is_behind(it: SessionSummary, after: Place) -> bool:
    """Whether a session belongs on the page after a place."""
    issued_at, session_id = after
    return it.issued_at < issued_at or (it.issued_at == issued_at and it.session_id > session_id)
