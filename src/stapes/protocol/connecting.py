"""A session before its CONNECT: who the peer is, its parameters, and what it says too early."""

from __future__ import annotations

from dataclasses import replace

from stapes.errors import (
    ApiError,
    AuthenticationExpectedError,
    AuthenticationTimeoutError,
    PayloadTooLargeError,
)
from stapes.protocol.answering import again, connected
from stapes.protocol.effects import Authenticate, Effect, Send, TakeRecogniser
from stapes.protocol.ending import refuse
from stapes.protocol.events import (
    AudioArrived,
    Authenticated,
    AuthenticationRefused,
    Past,
    RecogniserRefused,
    RecogniserTaken,
    TextArrived,
    TimeElapsed,
    TokenOffered,
)
from stapes.protocol.intake import MOST_OPEN_FLUSHES, is_too_long, pause, set_reading
from stapes.protocol.messages import parse_authentication
from stapes.protocol.params import parse_params
from stapes.protocol.state import Phase, Session, Step
from stapes.protocol.streaming import feed, read_text

HELD_AUDIO_MS = 2000


def authenticate(session: Session, event: TextArrived, _now_ms: int) -> Step:
    """Have the authentication message verified; anything else is refused."""
    if is_too_long(session, event):
        return refuse(session, PayloadTooLargeError())
    try:
        message = parse_authentication(event.text)
    except ApiError as error:
        return refuse(session, error)
    return replace(session, phase=Phase.AUTHENTICATING), [Authenticate(message)]


def authenticate_offered(session: Session, event: TokenOffered, _now_ms: int) -> Step:
    """Have the token verified that came with the upgrade."""
    return replace(session, phase=Phase.AUTHENTICATING), [Authenticate(event)]


def refuse_audio(session: Session, event: AudioArrived, _now_ms: int) -> Step:
    """Refuse audio that comes before the authentication message."""
    if is_too_long(session, event):
        return refuse(session, PayloadTooLargeError())
    return refuse(session, AuthenticationExpectedError("audio before authentication"))


def check_authentication_time(session: Session, _event: TimeElapsed, now_ms: int) -> Step:
    """Refuse a peer that has not authenticated in time."""
    if now_ms - session.opened_ms < session.rules.authentication_timeout_ms:
        return session, []
    return refuse(session, AuthenticationTimeoutError())


def authenticated(session: Session, event: Authenticated, now_ms: int) -> Step:
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
        return refuse(known, error)
    known = replace(known, phase=Phase.CONNECTING, params=params)
    if event.past is None:
        return known, [TakeRecogniser(params)]
    return _remember(known, event.past), [TakeRecogniser(params, event.past.checkpoint)]


def _remember(session: Session, past: Past) -> Session:
    """Take up a stream where its last final left it."""
    through = past.checkpoint.audio_bytes
    return replace(
        session,
        age_ms=past.age_ms,
        audio_bytes=through,
        heard_bytes=through,
        through_byte=through,
        saved_byte=through,
        speech_ms=past.speech_ms,
        finals=past.finals_sent,
        sent=past.finals,
        results_from=min(past.last_result, past.finals_sent) + 1,
    )


def hold(session: Session, event: TextArrived | AudioArrived, _now_ms: int) -> Step:
    """Hold what comes before CONNECT; when two seconds are held, read no further."""
    if is_too_long(session, event):
        return refuse(session, PayloadTooLargeError())
    size = len(event.audio) if isinstance(event, AudioArrived) else len(event.text)
    held = replace(session, held=(*session.held, event), held_bytes=session.held_bytes + size)
    limit = session.params.encoding.ms_to_bytes(HELD_AUDIO_MS)
    is_full = held.held_bytes >= limit or len(held.held) >= MOST_OPEN_FLUSHES
    return pause(held) if is_full else (held, [])


def refused(
    session: Session, event: AuthenticationRefused | RecogniserRefused, _now_ms: int
) -> Step:
    """Tell the peer why and close."""
    return refuse(session, event.error)


def connect(session: Session, event: RecogniserTaken, now_ms: int) -> Step:
    """Say CONNECT, then treat what was held as if it had just come."""
    assert session.session_id is not None
    held = session.held
    session = replace(
        session,
        phase=Phase.STREAMING,
        held=(),
        held_bytes=0,
        audio_at_ms=now_ms,
        opened_ms=now_ms - session.age_ms,
        longest_session_ms=_left(session.longest_session_ms, event.earlier_wall_ms),
        longest_audio_ms=_left(session.longest_audio_ms, event.earlier_audio_ms),
    )
    effects: list[Effect] = [Send(connected(session)), *again(session)]
    for early in held:
        if session.phase is not Phase.STREAMING:  # a frame before it came to a limit
            break
        if isinstance(early, AudioArrived):
            session, more = feed(session, early, now_ms)
        else:
            session, more = read_text(session, early, now_ms)
        effects += more
    session, more = set_reading(session, now_ms)
    return session, effects + more


def _left(limit_ms: int | None, used_ms: int) -> int | None:
    return None if limit_ms is None else limit_ms - used_ms
