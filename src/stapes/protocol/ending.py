"""How a session ends: refused at once, or drained of what was heard before its farewell."""

from __future__ import annotations

from dataclasses import replace

from stapes.errors import ApiError, TokenRevokedError
from stapes.protocol.answering import send_final
from stapes.protocol.effects import Close, Effect, Ending, Finish, Send
from stapes.protocol.events import (
    Moved,
    PeerClosed,
    RecogniserFailed,
    StopRequested,
    TimeElapsed,
    UtteranceArrived,
)
from stapes.protocol.intake import flush, pause
from stapes.protocol.messages import ErrorMessage
from stapes.protocol.state import Phase, Session, Step

LONGEST_REVOKED_DRAIN_MS = 250
"""A peer whose token was taken back reads no more after this, though its last words are not heard
to the end yet. They still are, and are kept."""


def refuse(session: Session, error: ApiError, ending: Ending = "refused") -> Step:
    """End a session that has nothing to drain."""
    return _finish(replace(session, farewell=error, ending=ending, held=()))


def leave(session: Session, _event: PeerClosed, _now_ms: int) -> Step:
    """End; there is nothing to recognise."""
    return _finish(replace(session, held=()))


def stop(session: Session, event: StopRequested, now_ms: int) -> Step:
    """Have what was heard recognised and kept, then tell the peer why it ends."""
    return drain(session, event.error, _ending(event.error), now_ms)


def stop_early(session: Session, event: StopRequested, _now_ms: int) -> Step:
    """Tell the peer why it ends and close."""
    return refuse(session, event.error, _ending(event.error))


def _ending(error: ApiError) -> Ending:
    return "revoked" if isinstance(error, TokenRevokedError) else "stopped"


def fail(session: Session, event: RecogniserFailed, _now_ms: int) -> Step:
    """Tell the peer that the fault is ours and close, if it is still there."""
    if session.phase is Phase.DRAINING and session.farewell is None:
        return _finish(replace(session, ending="failed"))
    return refuse(session, event.error, "failed")


def drain(session: Session, farewell: ApiError | None, ending: Ending, now_ms: int) -> Step:
    """Have what was heard recognised and kept; then say farewell and close."""
    session = replace(
        session,
        phase=Phase.DRAINING,
        farewell=farewell,
        ending=ending,
        draining_since_ms=now_ms,
        partial_waiting=None,
    )
    session, effects = pause(session)
    session, more = flush(session, "close")
    return session, effects + more


def drained(session: Session, event: UtteranceArrived, _now_ms: int) -> Step:
    """Keep the last finals, and send them while the peer is there; after the very last, close."""
    why, flushes = "", session.flushes
    if event.is_answer:
        why, flushes = flushes[0], flushes[1:]
    session, effects = send_final(
        replace(session, flushes=flushes), event, is_wanted=why == "request"
    )
    if session.farewell is None:
        effects = [effect for effect in effects if not isinstance(effect, Send)]
    if why != "close":
        return session, effects
    session, more = _finish(session)
    return session, effects + more


def stop_draining(session: Session, event: StopRequested, _now_ms: int) -> Step:
    """Note that the token was taken back, for a peer that still waits for its last words."""
    if not isinstance(event.error, TokenRevokedError) or session.farewell is None:
        return session, []
    return replace(session, farewell=event.error, ending="revoked"), []


def check_drain_time(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Give up on last words that do not come in time; do not keep a revoked peer waiting."""
    drained_ms = now_ms - session.draining_since_ms
    if drained_ms >= session.rules.drain_timeout_ms:
        return _finish(replace(session, ending="failed"))
    if session.ending == "revoked" and drained_ms >= LONGEST_REVOKED_DRAIN_MS:
        return replace(session, farewell=None), say_farewell(session)
    return session, []


def part(session: Session, _event: PeerClosed, _now_ms: int) -> Step:
    """Go on without the peer: it has left, so nobody is told why."""
    return replace(session, farewell=None), []


def move(session: Session, _event: Moved, _now_ms: int) -> Step:
    """End here without a last word: the stream goes on elsewhere, from its last final."""
    return _finish(replace(session, farewell=None, ending="moved"))


def _finish(session: Session) -> Step:
    finish = Finish(session.ending, session.audio_ms, session.speech_ms)
    return replace(session, phase=Phase.CLOSED), [*say_farewell(session), finish]


def say_farewell(session: Session) -> list[Effect]:
    """Tell the peer why it ends and close, unless that was done or the peer has left."""
    error = session.farewell
    if error is None:
        return []
    text = f"{error.code}: {error.public}"
    message = ErrorMessage(session_id=session.session_id, code=error.status, message=text)
    return [Send(message), Close(error.close_code)]
