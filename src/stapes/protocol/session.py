"""The session: a pure state machine over one socket.

`start` makes a session, `step` takes one event and returns the next session and the effects to
perform. Everything that changes a session's state is in this file, and `TRANSITIONS` says which
event may come in which phase. Nothing here reads a clock: ``now_ms`` is an argument, in ms on any
clock that never goes back.

Phases::

    OPENED ──first text frame──▶ AUTHENTICATING ──▶ CONNECTING ──CONNECT──▶ STREAMING
       └────────────any refusal: ERROR, close─────────────┴─────┐              │ peer closed, limit,
                                                                ▼              ▼ stop: flush
                                                             CLOSED ◀───── DRAINING
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from stapes.errors import (
    ApiError,
    AuthenticationExpectedError,
    AuthenticationTimeoutError,
    GoingAwayError,
    InternalServerError,
    PayloadTooLargeError,
    SessionIdleError,
    SessionLimitError,
    TokenRevokedError,
)
from stapes.protocol import results
from stapes.protocol.events import (
    AudioArrived,
    AudioHeard,
    Authenticate,
    Authenticated,
    AuthenticationRefused,
    Checkpoint,
    Close,
    DrainRequested,
    Effect,
    Ending,
    Event,
    FeedRecogniser,
    Finish,
    FlushRecogniser,
    Moved,
    Numbered,
    PartialArrived,
    Past,
    PauseReading,
    PeerClosed,
    RecogniserFailed,
    RecogniserRefused,
    RecogniserTaken,
    Resumed,
    ResumeReading,
    SaveFinal,
    SavePoint,
    Send,
    StopRequested,
    TakeRecogniser,
    TextArrived,
    TimeElapsed,
    TokenOffered,
    UtteranceArrived,
)
from stapes.protocol.extension import (
    Finalized,
    GoAway,
    LimitWarning,
    NumberedResult,
    ResumableConnect,
)
from stapes.protocol.messages import (
    AckAudio,
    AckDetails,
    Connect,
    ErrorMessage,
    Result,
    Transcription,
    is_final_requested,
    parse_authentication,
)
from stapes.protocol.params import parse_params
from stapes.protocol.state import Phase, Rules, Session

PARTIAL_INTERVAL_MS = 100
HELD_AUDIO_MS = 2000
MOST_OPEN_FLUSHES = 32
MOST_KEPT_FINALS = 64
"""A peer that comes back has missed at most so many finals: those of a resume window, and more."""

SILENCE_BETWEEN_POINTS_MS = 10_000
"""Of silence no final tells; after so much of it, it is kept where the stream can be continued. So
a peer needs no old silence to go on, however long it lasted."""

WARNINGS_S = (60, 10)
LONGEST_REVOKED_DRAIN_MS = 250
"""A peer whose token was taken back reads no more after this, though its last words are not heard
to the end yet. They still are, and are kept."""

SHORTEST_WALL_SILENCE_MS = 1000
"""A client that pauses between two packets has not stopped speaking: the wall clock waits at
least this long, whatever the threshold, before it takes missing audio for silence."""


Step = tuple[Session, list[Effect]]


def start(
    *,
    query: str,
    content_type: str | None,
    now_ms: int,
    rules: Rules | None = None,
    is_extended: bool = False,
) -> Session:
    """A session whose socket has just opened.

    Args:
        query: the raw query string of the upgrade.
        content_type: its Content-Type header, if any.
        now_ms: the caller's clock.
        rules: the server's limits.
        is_extended: the client asked for our extension.
    """
    rules = rules or Rules()
    return Session(rules, query, content_type, opened_ms=now_ms, is_extended=is_extended)


def step(session: Session, event: Event, now_ms: int) -> Step:
    """The next session and what to do, in order.

    Never raises on anything that a peer sends. A pair that is not in `TRANSITIONS` is a mistake
    of ours: it raises `InternalServerError`.
    """
    try:
        rule = TRANSITIONS[session.phase, type(event)]
    except KeyError:
        raise InternalServerError(f"{type(event).__name__} in phase {session.phase}") from None
    return rule(session, event, now_ms)


# Before CONNECT


def _authenticate(session: Session, event: TextArrived, _now_ms: int) -> Step:
    """Have the authentication message verified; anything else is refused."""
    if _is_too_long(session, event):
        return _refuse(session, PayloadTooLargeError())
    try:
        message = parse_authentication(event.text)
    except ApiError as error:
        return _refuse(session, error)
    return replace(session, phase=Phase.AUTHENTICATING), [Authenticate(message)]


def _authenticate_offered(session: Session, event: TokenOffered, _now_ms: int) -> Step:
    """Have the token verified that came with the upgrade."""
    return replace(session, phase=Phase.AUTHENTICATING), [Authenticate(event)]


def _refuse_audio(session: Session, event: AudioArrived, _now_ms: int) -> Step:
    """Refuse audio that comes before the authentication message."""
    if _is_too_long(session, event):
        return _refuse(session, PayloadTooLargeError())
    return _refuse(session, AuthenticationExpectedError("audio before authentication"))


def _authenticated(session: Session, event: Authenticated, now_ms: int) -> Step:
    """Read the parameters, now that a peer may learn of their faults; take a recogniser."""
    known = replace(
        session,
        session_id=event.session_id,
        longest_session_ms=event.longest_session_ms,
        longest_audio_ms=event.longest_audio_ms,
        expires_at=event.expires_at,
        limits=event.limits,
    )
    try:
        params = parse_params(session.query, session.content_type)
    except ApiError as error:
        return _refuse(known, error)
    known = replace(known, phase=Phase.CONNECTING, params=params)
    if event.past is None:
        return known, [TakeRecogniser(params)]
    return _remember(known, event.past), [TakeRecogniser(params, event.past.checkpoint)]


def _remember(session: Session, past: Past) -> Session:
    """Take up a stream where its last final left it."""
    through = past.checkpoint.audio_bytes
    return replace(
        session,
        audio_bytes=through,
        heard_bytes=through,
        through_byte=through,
        saved_byte=through,
        speech_ms=past.speech_ms,
        finals=past.finals_sent,
        sent=past.finals,
        results_from=min(past.last_result, past.finals_sent) + 1,
    )


def _hold(session: Session, event: TextArrived | AudioArrived, _now_ms: int) -> Step:
    """Hold what comes before CONNECT; when two seconds are held, read no further."""
    if _is_too_long(session, event):
        return _refuse(session, PayloadTooLargeError())
    size = len(event.audio) if isinstance(event, AudioArrived) else len(event.text)
    held = replace(session, held=(*session.held, event), held_bytes=session.held_bytes + size)
    limit = session.params.encoding.ms_to_bytes(HELD_AUDIO_MS)
    is_full = held.held_bytes >= limit or len(held.held) >= MOST_OPEN_FLUSHES
    return _pause(held) if is_full else (held, [])


def _connect(session: Session, _event: RecogniserTaken, now_ms: int) -> Step:
    """Say CONNECT, then treat what was held as if it had just come."""
    assert session.session_id is not None
    held = session.held
    session = replace(
        session, phase=Phase.STREAMING, held=(), held_bytes=0, audio_at_ms=now_ms, opened_ms=now_ms
    )
    effects: list[Effect] = [Send(_connected(session)), *_again(session)]
    for event in held:
        session, more = step(session, event, now_ms)
        effects += more
    session, more = _set_reading(session, now_ms)
    return session, effects + more


def _refused(
    session: Session, event: AuthenticationRefused | RecogniserRefused, _now_ms: int
) -> Step:
    """Tell the peer why and close."""
    return _refuse(session, event.error)


def _check_authentication_time(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Refuse a peer that has not authenticated in time."""
    if now_ms - session.opened_ms < session.rules.authentication_timeout_ms:
        return session, []
    return _refuse(session, AuthenticationTimeoutError())


def _refuse(session: Session, error: ApiError, ending: Ending = "refused") -> Step:
    """End a session that has nothing to drain."""
    return _finish(replace(session, farewell=error, ending=ending, held=()))


def _connected(session: Session) -> Connect:
    assert session.session_id is not None
    if not session.is_extended:
        return Connect(session_id=session.session_id)
    return ResumableConnect(
        session_id=session.session_id,
        resume_from=session.audio_bytes,
        results_from=session.results_from,
        expires_at=session.expires_at,
        limits=session.limits,
    )


def _again(session: Session) -> list[Effect]:
    """The finals that a peer that came back has not got."""
    missing = [it for it in session.sent if it.number >= session.results_from]
    return [Send(_numbered(session, it)) for it in missing]


def _leave(session: Session, _event: PeerClosed, _now_ms: int) -> Step:
    """End; there is nothing to recognise."""
    return _finish(replace(session, held=()))


# Streaming


def _feed(session: Session, event: AudioArrived, now_ms: int) -> Step:
    """Pass audio on to the recogniser, acknowledge it when asked to, watch the token's limit."""
    if _is_too_long(session, event):
        return _drain(session, PayloadTooLargeError(), "refused", now_ms)
    length = len(event.audio)
    offset = session.audio_bytes
    session = replace(
        session,
        frames=session.frames + 1,
        audio_bytes=offset + length,
        audio_at_ms=now_ms,
    )
    effects: list[Effect] = [FeedRecogniser(event.audio)]
    if session.params.is_ack_enabled:
        effects.append(Send(_ack(session, offset, length)))
    session, more = _set_reading(session, now_ms)
    effects += more
    if session.longest_audio_ms is not None:
        left_ms = session.longest_audio_ms - audio_ms(session)
        if left_ms <= 0:
            session, more = _drain(session, SessionLimitError("audio"), "limit", now_ms)
        else:
            session, more = _warn(session, left_ms)
        effects += more
    return session, effects


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


def _read_text(session: Session, event: TextArrived, now_ms: int) -> Step:
    """Answer SEND_FINAL_RESULT with a final; ignore every other text."""
    if _is_too_long(session, event):
        return _drain(session, PayloadTooLargeError(), "refused", now_ms)
    if not is_final_requested(event.text):
        return session, []
    session, effects = _flush(session, "request")
    session, more = _set_reading(session, now_ms)
    return session, effects + more


def _show_partial(session: Session, event: PartialArrived, now_ms: int) -> Step:
    """Send a partial, at most every 100 ms and only when its text changed."""
    return _send_partial(replace(session, partial_waiting=event.heard), now_ms)


def _send_partial(session: Session, now_ms: int) -> Step:
    """Send the waiting partial, unless one went out less than `PARTIAL_INTERVAL_MS` ago."""
    heard = session.partial_waiting
    if heard is None or now_ms - session.partial_at_ms < PARTIAL_INTERVAL_MS:
        return session, []
    session = replace(session, partial_waiting=None)
    shown = results.partial(heard, session.params)
    if shown is None or shown.transcription == session.partial_text:
        return session, []
    session = replace(session, partial_text=shown.transcription, partial_at_ms=now_ms)
    return session, [Send(_result(session, shown))]


def _end_utterance(session: Session, event: UtteranceArrived, now_ms: int) -> Step:
    """Send and keep the final of an utterance; an empty one only when it was asked for."""
    why, flushes = "", session.flushes
    if event.is_answer:
        why, flushes = flushes[0], flushes[1:]
    session = replace(session, flushes=flushes, partial_waiting=None, partial_text="")
    session, effects = _send_final(session, event, is_wanted=why == "request")
    session, more = _set_reading(session, now_ms)
    return session, effects + more


def _send_final(session: Session, event: UtteranceArrived, *, is_wanted: bool) -> Step:
    """Send and keep a final; an empty one is sent only when it was asked for, and never kept."""
    shown = results.final(event.heard, session.params)
    session = replace(session, through_byte=max(session.through_byte, _through(session, event)))
    if not shown.tokens:
        session, saved = _save_point(session, event.checkpoint)
        if not is_wanted:
            return session, saved
        it = Numbered(session.finals, shown, session.through_byte)
        session = replace(session, unheard_answer=it if session.is_away else None)
        return session, [*saved, Send(_numbered(session, it)), *_finalized(session)]
    it = Numbered(session.finals + 1, shown, session.through_byte)
    session = replace(
        session,
        finals=it.number,
        sent=(*session.sent, it)[-MOST_KEPT_FINALS:],
        saved_byte=event.checkpoint.audio_bytes if event.checkpoint else session.saved_byte,
    )
    effects: list[Effect] = [_save(session, it, event.checkpoint), Send(_numbered(session, it))]
    return session, effects + (_finalized(session) if is_wanted else [])


def _through(session: Session, event: UtteranceArrived) -> int:
    """Up to where an utterance accounts for audio. An answer to a flush: for all that was heard.

    Utterances tell whole milliseconds, and the audio of a peer may end between two.
    """
    encoding, through_ms = session.params.encoding, event.heard.through_ms
    if event.is_answer and encoding.bytes_to_ms(session.heard_bytes) == through_ms:
        return session.heard_bytes
    return encoding.ms_to_bytes(through_ms)


def _save(session: Session, final: Numbered, checkpoint: Checkpoint | None) -> SaveFinal:
    if checkpoint is None or not session.is_extended:
        return SaveFinal(final.number, final.transcription)
    return SaveFinal(final.number, final.transcription, checkpoint, session.sent, session.speech_ms)


def _save_point(session: Session, checkpoint: Checkpoint | None) -> Step:
    """Keep where the stream can be continued, when the last such place is far enough before."""
    if checkpoint is None or not session.is_extended:
        return session, []
    further = checkpoint.audio_bytes - session.saved_byte
    if further < session.params.encoding.ms_to_bytes(SILENCE_BETWEEN_POINTS_MS):
        return session, []
    point = SavePoint(session.finals, checkpoint, session.sent, session.speech_ms)
    return replace(session, saved_byte=checkpoint.audio_bytes), [point]


def _finalized(session: Session) -> list[Effect]:
    if not session.is_extended:
        return []
    through_ms = session.params.encoding.bytes_to_ms(session.through_byte)
    message = Finalized(number=session.finals, through_ms=through_ms)
    return [Send(message)]


def _numbered(session: Session, final: Numbered) -> Result:
    """A final as a message; without the extension not one field more than there always was."""
    assert session.session_id is not None
    if not session.is_extended:
        return _result(session, final.transcription)
    return NumberedResult(
        session_id=session.session_id,
        transcriptions=(final.transcription,),
        number=final.number,
        through_byte=final.through_byte,
    )


def _note_heard(session: Session, event: AudioHeard, now_ms: int) -> Step:
    """Note how far the recogniser is and where it could begin again; read on if it caught up."""
    session = replace(
        session,
        heard_bytes=session.heard_bytes + event.audio_bytes,
        speech_ms=session.speech_ms + event.speech_ms,
        is_pending=event.is_pending,
    )
    session, effects = _save_point(session, event.checkpoint)
    session, more = _set_reading(session, now_ms)
    return session, effects + more


def _note_heard_late(session: Session, event: AudioHeard, _now_ms: int) -> Step:
    """Account for speech that was heard while the session ends."""
    return replace(session, speech_ms=session.speech_ms + event.speech_ms), []


def _watch(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Watch the clock: the longest session, idle time, missing audio, a partial that waits."""
    longest_ms = session.rules.longest_session_ms
    if session.longest_session_ms is not None:
        longest_ms = min(longest_ms, session.longest_session_ms)
    left_ms = session.opened_ms + longest_ms - now_ms
    if left_ms <= 0:
        return _drain(session, SessionLimitError("time"), "limit", now_ms)
    if session.away_since_ms is not None:
        return _wait(session, session.away_since_ms, now_ms)
    session, warning = _warn(session, left_ms)
    session, effects = _watch_audio(session, now_ms)
    return session, warning + effects


def _wait(session: Session, away_since_ms: int, now_ms: int) -> Step:
    """Wait for a peer that was lost; no audio of it is no silence."""
    if now_ms - away_since_ms < session.rules.resume_window_ms:
        return session, []
    return _drain(session, None, "peer", now_ms)


def _watch_audio(session: Session, now_ms: int) -> Step:
    """Watch idle time, missing audio, and a partial that waits."""
    silent_ms = 0 if session.is_paused else now_ms - session.audio_at_ms
    if silent_ms >= session.rules.idle_timeout_ms:
        return _drain(session, SessionIdleError(), "idle", now_ms)
    if _has_gone_quiet(session, silent_ms):
        return _flush(session, "silence")
    return _send_partial(session, now_ms)


def _has_gone_quiet(session: Session, silent_ms: int) -> bool:
    """No audio comes, all that came is heard, and an utterance still waits for its silence."""
    enough_ms = max(session.params.final_silence_ms, SHORTEST_WALL_SILENCE_MS)
    is_heard = session.heard_bytes == session.audio_bytes
    return session.is_pending and is_heard and not session.flushes and silent_ms >= enough_ms


# The end


def _peer_closed(session: Session, event: PeerClosed, now_ms: int) -> Step:
    """Have what was heard recognised and kept; wait for a peer that can come back."""
    if session.is_leaving:
        return _move(session, Moved(), now_ms)
    if not (event.is_lost and session.is_extended):
        return _drain(session, None, "peer", now_ms)
    if session.is_away:
        return session, []
    session, effects = _pause(replace(session, away_since_ms=now_ms, partial_text=""))
    return session, effects


def _resume(session: Session, event: Resumed, now_ms: int) -> Step:
    """The peer is back, on another socket: say from where it has to send, and what it missed."""
    session = replace(
        session,
        away_since_ms=None,
        audio_at_ms=now_ms,
        results_from=min(event.last_result, session.finals) + 1,
        partial_text="",
        partial_waiting=None,
    )
    effects: list[Effect] = [Send(_connected(session)), *_again(session)]
    if session.unheard_answer is not None:
        effects += [Send(_numbered(session, session.unheard_answer)), *_finalized(session)]
        session = replace(session, unheard_answer=None)
    session, more = _set_reading(session, now_ms)
    return session, effects + more


def _come_late(session: Session, _event: Resumed, _now_ms: int) -> Step:
    """The peer is back and the stream is ending: it is told so when its last words are kept."""
    farewell = session.farewell or GoingAwayError("the stream is ending")
    return replace(session, away_since_ms=None, farewell=farewell), []


def _send_away(session: Session, event: DrainRequested, now_ms: int) -> Step:
    """Tell a peer that can go on elsewhere to do so; one that is away will find its way."""
    if not session.is_extended:
        return session, []
    if session.is_away:
        return _move(session, Moved(), now_ms)
    message = GoAway(reconnect_within_ms=event.reconnect_within_ms)
    return replace(session, is_leaving=True), [Send(message)]


def _move(session: Session, _event: Moved, _now_ms: int) -> Step:
    """End here without a last word: the stream goes on elsewhere, from its last final."""
    return _finish(replace(session, farewell=None, ending="moved"))


def _stop(session: Session, event: StopRequested, now_ms: int) -> Step:
    """Have what was heard recognised and kept, then tell the peer why it ends."""
    return _drain(session, event.error, _ending(event.error), now_ms)


def _stop_early(session: Session, event: StopRequested, _now_ms: int) -> Step:
    """Tell the peer why it ends and close."""
    return _refuse(session, event.error, _ending(event.error))


def _ending(error: ApiError) -> Ending:
    return "revoked" if isinstance(error, TokenRevokedError) else "stopped"


def _stop_draining(session: Session, event: StopRequested, _now_ms: int) -> Step:
    """Note that the token was taken back, for a peer that still waits for its last words."""
    if not isinstance(event.error, TokenRevokedError) or session.farewell is None:
        return session, []
    return replace(session, farewell=event.error, ending="revoked"), []


def _fail(session: Session, event: RecogniserFailed, _now_ms: int) -> Step:
    """Tell the peer that the fault is ours and close."""
    return _refuse(session, event.error, "failed")


def _drain(session: Session, farewell: ApiError | None, ending: Ending, now_ms: int) -> Step:
    """Have what was heard recognised and kept; then say farewell and close."""
    session = replace(
        session,
        phase=Phase.DRAINING,
        farewell=farewell,
        ending=ending,
        draining_since_ms=now_ms,
        partial_waiting=None,
    )
    session, effects = _pause(session)
    session, more = _flush(session, "close")
    return session, effects + more


def _drained(session: Session, event: UtteranceArrived, _now_ms: int) -> Step:
    """Keep the last finals, and send them while the peer is there; after the very last, close."""
    why, flushes = "", session.flushes
    if event.is_answer:
        why, flushes = flushes[0], flushes[1:]
    session, effects = _send_final(
        replace(session, flushes=flushes), event, is_wanted=why == "request"
    )
    if session.farewell is None:
        effects = [effect for effect in effects if not isinstance(effect, Send)]
    if why != "close":
        return session, effects
    session, more = _finish(session)
    return session, effects + more


def _check_drain_time(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Give up on last words that do not come in time; do not keep a revoked peer waiting."""
    drained_ms = now_ms - session.draining_since_ms
    if drained_ms >= session.rules.drain_timeout_ms:
        return _finish(replace(session, ending="failed"))
    if session.ending == "revoked" and drained_ms >= LONGEST_REVOKED_DRAIN_MS:
        return replace(session, farewell=None), _farewell(session)
    return session, []


def _finish(session: Session) -> Step:
    finish = Finish(session.ending, audio_ms(session), session.speech_ms)
    return replace(session, phase=Phase.CLOSED), [*_farewell(session), finish]


def _farewell(session: Session) -> list[Effect]:
    """Tell the peer why it ends and close, unless that was done or the peer has left."""
    error = session.farewell
    if error is None:
        return []
    text = f"{error.code}: {error.public}"
    message = ErrorMessage(session_id=session.session_id, code=error.status, message=text)
    return [Send(message), Close(error.close_code)]


def _ignore(session: Session, _event: Event, _now_ms: int) -> Step:
    """Nothing."""
    return session, []


def _part(session: Session, _event: PeerClosed, _now_ms: int) -> Step:
    """Go on without the peer: it has left, so nobody is told why."""
    return replace(session, farewell=None), []


# Parts of several steps


def _is_too_long(session: Session, event: TextArrived | AudioArrived) -> bool:
    if isinstance(event, AudioArrived):
        return len(event.audio) > session.rules.longest_audio_bytes
    longest = session.rules.longest_text_bytes
    return len(event.text) > longest or len(event.text.encode()) > longest


def _flush(session: Session, why: str) -> Step:
    return replace(session, flushes=(*session.flushes, why)), [FlushRecogniser()]


def _pause(session: Session) -> Step:
    if session.is_paused:
        return session, []
    return replace(session, is_paused=True), [PauseReading()]


def _set_reading(session: Session, now_ms: int) -> Step:
    """Stop reading while the recogniser is too far behind; read on when it has caught up.

    The clocks of silence start anew on reading: what was not read was not silence.
    """
    limit = session.params.encoding.ms_to_bytes(session.rules.unheard_audio_ms)
    unheard = session.audio_bytes - session.heard_bytes
    if unheard >= limit or len(session.flushes) >= MOST_OPEN_FLUSHES:
        return _pause(session)
    is_behind = unheard > limit // 2 or len(session.flushes) > MOST_OPEN_FLUSHES // 2
    if not session.is_paused or is_behind:
        return session, []
    return replace(session, is_paused=False, audio_at_ms=now_ms), [ResumeReading()]


def audio_ms(session: Session) -> int:
    """How much audio the session has had, ms."""
    return session.params.encoding.bytes_to_ms(session.audio_bytes)


def _ack(session: Session, offset: int, length: int) -> AckAudio:
    assert session.session_id is not None
    details = AckDetails(number=session.frames, offset=offset, length=length)
    return AckAudio(session_id=session.session_id, details=details)


def _result(session: Session, shown: Transcription) -> Result:
    assert session.session_id is not None
    if not session.is_extended:
        return Result(session_id=session.session_id, transcriptions=(shown,))
    return NumberedResult(
        session_id=session.session_id, transcriptions=(shown,), number=session.finals + 1
    )


Rule = Callable[[Session, Any, int], Step]

TRANSITIONS: dict[tuple[Phase, type[Event]], Rule] = {
    (Phase.OPENED, TextArrived): _authenticate,
    (Phase.OPENED, TokenOffered): _authenticate_offered,
    (Phase.OPENED, AudioArrived): _refuse_audio,
    (Phase.OPENED, PeerClosed): _leave,
    (Phase.OPENED, TimeElapsed): _check_authentication_time,
    (Phase.OPENED, StopRequested): _stop_early,
    (Phase.OPENED, DrainRequested): _ignore,
    (Phase.AUTHENTICATING, TextArrived): _hold,
    (Phase.AUTHENTICATING, AudioArrived): _hold,
    (Phase.AUTHENTICATING, PeerClosed): _leave,
    (Phase.AUTHENTICATING, Authenticated): _authenticated,
    (Phase.AUTHENTICATING, AuthenticationRefused): _refused,
    (Phase.AUTHENTICATING, TimeElapsed): _check_authentication_time,
    (Phase.AUTHENTICATING, StopRequested): _stop_early,
    (Phase.AUTHENTICATING, DrainRequested): _ignore,
    (Phase.AUTHENTICATING, Moved): _move,
    (Phase.CONNECTING, TextArrived): _hold,
    (Phase.CONNECTING, AudioArrived): _hold,
    (Phase.CONNECTING, PeerClosed): _leave,
    (Phase.CONNECTING, RecogniserTaken): _connect,
    (Phase.CONNECTING, RecogniserRefused): _refused,
    (Phase.CONNECTING, RecogniserFailed): _fail,
    (Phase.CONNECTING, TimeElapsed): _ignore,
    (Phase.CONNECTING, StopRequested): _stop_early,
    (Phase.CONNECTING, DrainRequested): _ignore,
    (Phase.STREAMING, TextArrived): _read_text,
    (Phase.STREAMING, AudioArrived): _feed,
    (Phase.STREAMING, PeerClosed): _peer_closed,
    (Phase.STREAMING, RecogniserFailed): _fail,
    (Phase.STREAMING, PartialArrived): _show_partial,
    (Phase.STREAMING, UtteranceArrived): _end_utterance,
    (Phase.STREAMING, AudioHeard): _note_heard,
    (Phase.STREAMING, TimeElapsed): _watch,
    (Phase.STREAMING, StopRequested): _stop,
    (Phase.STREAMING, Resumed): _resume,
    (Phase.STREAMING, DrainRequested): _send_away,
    (Phase.STREAMING, Moved): _move,
    (Phase.DRAINING, TextArrived): _ignore,
    (Phase.DRAINING, AudioArrived): _ignore,
    (Phase.DRAINING, PeerClosed): _part,
    (Phase.DRAINING, RecogniserFailed): _fail,
    (Phase.DRAINING, PartialArrived): _ignore,
    (Phase.DRAINING, UtteranceArrived): _drained,
    (Phase.DRAINING, AudioHeard): _note_heard_late,
    (Phase.DRAINING, TimeElapsed): _check_drain_time,
    (Phase.DRAINING, StopRequested): _stop_draining,
    (Phase.DRAINING, Resumed): _come_late,
    (Phase.DRAINING, DrainRequested): _ignore,
    (Phase.DRAINING, Moved): _move,
    **{(Phase.CLOSED, event): _ignore for event in get_args(Event)},
}
"""Which event may come in which phase, and what then happens. The documentation's table is made
from this one."""
