"""A session whose socket breaks, or whose server stops: it waits for its peer, or is left to it."""

from __future__ import annotations

from dataclasses import replace

from stapes.errors import GoingAwayError, TokenRevokedError
from stapes.protocol.answering import again, connected
from stapes.protocol.effects import Effect, Send
from stapes.protocol.ending import drain, move, say_farewell
from stapes.protocol.events import DrainRequested, Moved, PeerClosed, Resumed
from stapes.protocol.extension import GoAway
from stapes.protocol.intake import pause, set_reading
from stapes.protocol.state import Session, Step


def peer_closed(session: Session, event: PeerClosed, now_ms: int) -> Step:
    """Have what was heard recognised and kept; wait for a peer that can come back."""
    if session.is_leaving:
        return move(session, Moved(), now_ms)
    if not (event.is_lost and session.is_extended):
        return drain(session, None, "peer", now_ms)
    if session.is_away:
        return session, []
    session, effects = pause(replace(session, away_since_ms=now_ms, partial_text=""))
    return session, effects


def resume(session: Session, event: Resumed, now_ms: int) -> Step:
    """The peer is back, on another socket: say from where it has to send, and what it missed."""
    session = replace(
        session,
        away_since_ms=None,
        is_asked=False,
        audio_at_ms=now_ms,
        results_from=min(event.last_result, session.finals) + 1,
        partial_text="",
        partial_waiting=None,
    )
    effects: list[Effect] = [Send(connected(session)), *again(session)]
    session, more = set_reading(session, now_ms)
    return session, effects + more


def come_late(session: Session, event: Resumed, _now_ms: int) -> Step:
    """The peer is back and the stream is ending: it is told so when its last words are kept."""
    session = replace(session, away_since_ms=None)
    if session.ending == "revoked":  # it reads nothing more
        revoked = replace(session, farewell=TokenRevokedError("revoked while away"))
        return replace(session, farewell=None), say_farewell(revoked)
    session = replace(
        session,
        farewell=session.farewell or GoingAwayError("the stream is ending"),
        results_from=min(event.last_result, session.finals) + 1,
    )
    return session, [Send(connected(session)), *again(session)]


def send_away(session: Session, event: DrainRequested, now_ms: int) -> Step:
    """Tell a peer that can go on elsewhere to do so; one that is away will find its way."""
    if not session.is_extended:
        return session, []
    if session.is_away:
        return move(session, Moved(), now_ms)
    message = GoAway(reconnect_within_ms=event.reconnect_within_ms)
    return replace(session, is_leaving=True), [Send(message)]
