"""The session: a pure state machine over one socket.

`start` makes a session, `step` takes one event and returns the next session and the effects to
perform. `TRANSITIONS` says which event may come in which phase, and which rule then changes the
session: those before CONNECT are in `connecting`, with a recogniser in `streaming`, results in
`answering`, a socket that breaks in `breaking`, the end in `ending`; what bounds all of them is in
`intake`. Nothing here reads a clock: ``now_ms`` is an argument, in ms on any
clock that never goes back.

Phases::

    OPENED ──first text frame──▶ AUTHENTICATING ──▶ CONNECTING ──CONNECT──▶ STREAMING
       └────────────any refusal: ERROR, close─────────────┴─────┐              │ peer closed, limit,
                                                                ▼              ▼ stop: flush
                                                             CLOSED ◀───── DRAINING
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from stapes.errors import InternalServerError
from stapes.protocol import answering, breaking, connecting, ending, streaming
from stapes.protocol.events import (
    AudioArrived,
    AudioHeard,
    Authenticated,
    AuthenticationRefused,
    DrainRequested,
    Event,
    Moved,
    PartialArrived,
    PeerClosed,
    RecogniserFailed,
    RecogniserRefused,
    RecogniserTaken,
    Resumed,
    StopRequested,
    TextArrived,
    TimeElapsed,
    TokenOffered,
    UtteranceArrived,
)
from stapes.protocol.state import Phase, Rules, Session, Step


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


def _ignore(session: Session, _event: Event, _now_ms: int) -> Step:
    """Nothing."""
    return session, []


Rule = Callable[[Session, Any, int], Step]

TRANSITIONS: dict[tuple[Phase, type[Event]], Rule] = {
    (Phase.OPENED, TextArrived): connecting.authenticate,
    (Phase.OPENED, TokenOffered): connecting.authenticate_offered,
    (Phase.OPENED, AudioArrived): connecting.refuse_audio,
    (Phase.OPENED, PeerClosed): ending.leave,
    (Phase.OPENED, TimeElapsed): connecting.check_authentication_time,
    (Phase.OPENED, StopRequested): ending.stop_early,
    (Phase.OPENED, DrainRequested): _ignore,
    (Phase.AUTHENTICATING, TextArrived): connecting.hold,
    (Phase.AUTHENTICATING, AudioArrived): connecting.hold,
    (Phase.AUTHENTICATING, PeerClosed): ending.leave,
    (Phase.AUTHENTICATING, Authenticated): connecting.authenticated,
    (Phase.AUTHENTICATING, AuthenticationRefused): connecting.refused,
    (Phase.AUTHENTICATING, TimeElapsed): connecting.check_authentication_time,
    (Phase.AUTHENTICATING, StopRequested): ending.stop_early,
    (Phase.AUTHENTICATING, DrainRequested): _ignore,
    (Phase.AUTHENTICATING, Moved): ending.move,
    (Phase.CONNECTING, TextArrived): connecting.hold,
    (Phase.CONNECTING, AudioArrived): connecting.hold,
    (Phase.CONNECTING, PeerClosed): ending.leave,
    (Phase.CONNECTING, RecogniserTaken): connecting.connect,
    (Phase.CONNECTING, RecogniserRefused): connecting.refused,
    (Phase.CONNECTING, RecogniserFailed): ending.fail,
    (Phase.CONNECTING, TimeElapsed): _ignore,
    (Phase.CONNECTING, StopRequested): ending.stop_early,
    (Phase.CONNECTING, DrainRequested): _ignore,
    (Phase.STREAMING, TextArrived): streaming.read_text,
    (Phase.STREAMING, AudioArrived): streaming.feed,
    (Phase.STREAMING, PeerClosed): breaking.peer_closed,
    (Phase.STREAMING, RecogniserFailed): ending.fail,
    (Phase.STREAMING, PartialArrived): answering.show_partial,
    (Phase.STREAMING, UtteranceArrived): answering.end_utterance,
    (Phase.STREAMING, AudioHeard): streaming.note_heard,
    (Phase.STREAMING, TimeElapsed): streaming.watch,
    (Phase.STREAMING, StopRequested): ending.stop,
    (Phase.STREAMING, Resumed): breaking.resume,
    (Phase.STREAMING, DrainRequested): breaking.send_away,
    (Phase.STREAMING, Moved): ending.move,
    (Phase.DRAINING, TextArrived): _ignore,
    (Phase.DRAINING, AudioArrived): _ignore,
    (Phase.DRAINING, PeerClosed): ending.part,
    (Phase.DRAINING, RecogniserFailed): ending.fail,
    (Phase.DRAINING, PartialArrived): _ignore,
    (Phase.DRAINING, UtteranceArrived): ending.drained,
    (Phase.DRAINING, AudioHeard): streaming.note_heard_late,
    (Phase.DRAINING, TimeElapsed): ending.check_drain_time,
    (Phase.DRAINING, StopRequested): ending.stop_draining,
    (Phase.DRAINING, Resumed): breaking.come_late,
    (Phase.DRAINING, DrainRequested): _ignore,
    (Phase.DRAINING, Moved): ending.move,
    **{(Phase.CLOSED, event): _ignore for event in get_args(Event)},
}
"""Which event may come in which phase, and what then happens. The documentation's table is made
from this one."""
