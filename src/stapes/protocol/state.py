"""What a session knows: its phase, the server's rules for it, and everything that has happened.

Values only. What makes one of another are the rules in `stapes.protocol.session.TRANSITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stapes.errors import ApiError
from stapes.protocol.effects import Effect, Ending
from stapes.protocol.events import AudioArrived, Numbered, TextArrived
from stapes.protocol.heard import PartialHeard
from stapes.protocol.params import Params


class Phase(StrEnum):
    """Where a session is in its life."""

    OPENED = "opened"
    AUTHENTICATING = "authenticating"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits a server sets for all its sessions. Times in ms, sizes in bytes."""

    authentication_timeout_ms: int = 10_000
    idle_timeout_ms: int = 300_000
    longest_session_ms: int = 4 * 3_600_000
    drain_timeout_ms: int = 30_000
    longest_text_bytes: int = 64 * 1024
    longest_audio_bytes: int = 1024 * 1024
    unheard_audio_ms: int = 10_000
    resume_window_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class Session:
    """Everything a session knows. Times in ms on the caller's clock, sizes in bytes."""

    rules: Rules
    query: str
    content_type: str | None
    opened_ms: int
    age_ms: int = 0  # at CONNECT: a stream that is continued was opened before
    phase: Phase = Phase.OPENED
    session_id: str | None = None
    params: Params = field(default_factory=Params)
    longest_session_ms: int | None = None
    longest_audio_ms: int | None = None
    held: tuple[TextArrived | AudioArrived, ...] = ()
    held_bytes: int = 0
    frames: int = 0
    audio_bytes: int = 0
    heard_bytes: int = 0
    speech_ms: int = 0
    is_pending: bool = False
    is_paused: bool = False
    audio_at_ms: int = 0
    flushes: tuple[str, ...] = ()  # why each open flush was made, oldest first
    finals: int = 0
    partial_text: str = ""
    partial_at_ms: int = 0
    partial_waiting: PartialHeard | None = None
    farewell: ApiError | None = None
    ending: Ending = "peer"
    draining_since_ms: int = 0
    # Of the extension:
    is_extended: bool = False
    expires_at: datetime | None = None
    limits: dict[str, bool | int | str] = field(default_factory=dict)
    sent: tuple[Numbered, ...] = ()  # the last finals, should the peer come back
    through_byte: int = 0
    saved_byte: int = 0  # where the stream can be continued, should its server be lost
    answer: Numbered | None = None  # the last one to a request, should the peer not have got it
    results_from: int = 1
    away_since_ms: int | None = None  # since when there is no peer, though the stream goes on
    is_asked: bool = False  # whether audio that is missing is on its way
    is_leaving: bool = False  # the peer was told to go on elsewhere
    warned_s: int | None = None  # the last warning said that so much was left

    @property
    def is_away(self) -> bool:
        """There is no peer, though the stream goes on."""
        return self.away_since_ms is not None

    @property
    def audio_ms(self) -> int:
        """How much audio the session has had, ms."""
        return self.params.encoding.bytes_to_ms(self.audio_bytes)


Step = tuple[Session, list[Effect]]
"""What an event leads to: the next session, and what is to be done, in order."""
