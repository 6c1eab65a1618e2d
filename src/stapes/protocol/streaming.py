"""A session with its recogniser: audio, requests, and the clock."""

from __future__ import annotations

from dataclasses import replace

from stapes.errors import PayloadTooLargeError, SessionIdleError, SessionLimitError
from stapes.protocol.answering import ack, save_point, send_partial
from stapes.protocol.effects import AskPeer, Effect, FeedRecogniser, Send
from stapes.protocol.ending import drain
from stapes.protocol.events import AudioArrived, AudioHeard, PeerAnswered, TextArrived, TimeElapsed
from stapes.protocol.extension import LimitWarning
from stapes.protocol.intake import flush, is_too_long, set_reading
from stapes.protocol.messages import is_final_requested
from stapes.protocol.state import Session, Step

WARNINGS_S = (60, 10)

SHORTEST_WALL_SILENCE_MS = 1000
"""A client that pauses between two packets has not stopped speaking: the wall clock waits at
least this long, whatever the threshold, before it takes missing audio for silence."""


def feed(session: Session, event: AudioArrived, now_ms: int) -> Step:
    """Pass audio on to the recogniser, acknowledge it when asked to, watch the token's limit."""
    if is_too_long(session, event):
        return drain(session, PayloadTooLargeError(), "refused", now_ms)
    offset = session.audio_bytes
    audio = _allowed(session, event.audio)
    length = len(audio)
    session = replace(
        session,
        frames=session.frames + 1,
        audio_bytes=offset + length,
        audio_at_ms=now_ms,
    )
    effects: list[Effect] = [FeedRecogniser(audio)]
    if session.params.is_ack_enabled:
        effects.append(Send(ack(session, offset, length)))
    session, more = set_reading(session, now_ms)
    effects += more
    if session.longest_audio_ms is not None:
        left_ms = session.longest_audio_ms - session.audio_ms
        if left_ms <= 0:
            session, more = drain(session, SessionLimitError("audio"), "limit", now_ms)
        else:
            session, more = _warn(session, left_ms)
        effects += more
    return session, effects


def _allowed(session: Session, audio: bytes) -> bytes:
    """What of a frame the token's limit allows: not a sample more, however long the frame."""
    if session.longest_audio_ms is None:
        return audio
    limit = session.params.encoding.ms_to_bytes(session.longest_audio_ms)
    return audio[: max(0, limit - session.audio_bytes)]


def _warn(session: Session, left_ms: int) -> Step:
    """Tell a peer of the extension, twice, that a limit is near."""
    due = [left_s for left_s in WARNINGS_S if left_ms <= left_s * 1000]
    if not session.is_extended or not due or min(due) == session.warned_s:
        return session, []
    error = SessionLimitError()
    warning = LimitWarning(
        code=error.status,
        message=f"{error.code}: {error.public}",
        seconds_left=left_ms // 1000,
    )
    return replace(session, warned_s=min(due)), [Send(warning)]


def read_text(session: Session, event: TextArrived, now_ms: int) -> Step:
    """Answer SEND_FINAL_RESULT with a final; ignore every other text."""
    if is_too_long(session, event):
        return drain(session, PayloadTooLargeError(), "refused", now_ms)
    if not is_final_requested(event.text):
        return session, []
    session, effects = flush(session, "request")
    session, more = set_reading(session, now_ms)
    return session, effects + more


def note_heard(session: Session, event: AudioHeard, now_ms: int) -> Step:
    """Note how far the recogniser is and where it could begin again; read on if it caught up."""
    session = replace(
        session,
        heard_bytes=session.heard_bytes + event.audio_bytes,
        speech_ms=session.speech_ms + event.speech_ms,
        is_pending=event.is_pending,
    )
    session, effects = save_point(session, event.checkpoint)
    session, more = set_reading(session, now_ms)
    return session, effects + more


def note_heard_late(session: Session, event: AudioHeard, _now_ms: int) -> Step:
    """Account for speech that was heard while the session ends."""
    return replace(session, speech_ms=session.speech_ms + event.speech_ms), []


def watch(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Watch the clock: the longest session, idle time, missing audio, a partial that waits."""
    longest_ms = session.rules.longest_session_ms
    if session.longest_session_ms is not None:
        longest_ms = min(longest_ms, session.longest_session_ms)
    left_ms = session.opened_ms + longest_ms - now_ms
    if left_ms <= 0:
        return drain(session, SessionLimitError("time"), "limit", now_ms)
    if session.away_since_ms is not None:
        return _wait(session, session.away_since_ms, now_ms)
    session, warning = _warn(session, left_ms)
    session, effects = _watch_audio(session, now_ms)
    return session, warning + effects


def _wait(session: Session, away_since_ms: int, now_ms: int) -> Step:
    """Wait for a peer that was lost; no audio of it is no silence."""
    if now_ms - away_since_ms < session.rules.resume_window_ms:
        return session, []
    return drain(session, None, "peer", now_ms)


def _watch_audio(session: Session, now_ms: int) -> Step:
    """Watch idle time, missing audio, and a partial that waits."""
    silent_ms = 0 if session.is_paused else now_ms - session.audio_at_ms
    if silent_ms >= session.rules.idle_timeout_ms:
        return drain(session, SessionIdleError(), "idle", now_ms)
    if _has_gone_quiet(session, silent_ms) and not session.is_asked:
        if not session.is_extended:
            return flush(session, "silence")
        return replace(session, is_asked=True), [AskPeer()]
    return send_partial(session, now_ms)


def note_answer(session: Session, _event: PeerAnswered, now_ms: int) -> Step:
    """Take audio for silence that is missing still: the peer has sent none."""
    session = replace(session, is_asked=False)
    silent_ms = 0 if session.is_paused else now_ms - session.audio_at_ms
    return flush(session, "silence") if _has_gone_quiet(session, silent_ms) else (session, [])


def _has_gone_quiet(session: Session, silent_ms: int) -> bool:
    """No audio comes, all that came is heard, and an utterance still waits for its silence."""
    enough_ms = max(session.params.final_silence_ms, SHORTEST_WALL_SILENCE_MS)
    is_heard = session.heard_bytes == session.audio_bytes
    return session.is_pending and is_heard and not session.flushes and silent_ms >= enough_ms
