"""What a session takes in: no frame too long, and no more than its recogniser can follow."""

from __future__ import annotations

from dataclasses import replace

from stapes.protocol.effects import FlushRecogniser, PauseReading, ResumeReading
from stapes.protocol.events import AudioArrived, TextArrived
from stapes.protocol.state import Session, Step

MOST_OPEN_FLUSHES = 32


def is_too_long(session: Session, event: TextArrived | AudioArrived) -> bool:
    """Whether a frame is longer than the server's rules allow."""
    if isinstance(event, AudioArrived):
        return len(event.audio) > session.rules.longest_audio_bytes
    longest = session.rules.longest_text_bytes
    return len(event.text) > longest or len(event.text.encode()) > longest


def pause(session: Session) -> Step:
    """Read no more from the socket for now."""
    if session.is_paused:
        return session, []
    return replace(session, is_paused=True), [PauseReading()]


def set_reading(session: Session, now_ms: int) -> Step:
    """Stop reading while the recogniser is too far behind; read on when it has caught up.

    The clocks of silence start anew on reading: what was not read was not silence.
    """
    limit = session.params.encoding.ms_to_bytes(session.rules.unheard_audio_ms)
    unheard = session.audio_bytes - session.heard_bytes
    if unheard >= limit or len(session.flushes) >= MOST_OPEN_FLUSHES:
        return pause(session)
    is_behind = unheard > limit // 2 or len(session.flushes) > MOST_OPEN_FLUSHES // 2
    if not session.is_paused or is_behind:
        return session, []
    return replace(session, is_paused=False, audio_at_ms=now_ms), [ResumeReading()]


def flush(session: Session, why: str) -> Step:
    """Have the utterance ended now; ``why`` decides what becomes of the answer."""
    return replace(session, flushes=(*session.flushes, why)), [FlushRecogniser()]
