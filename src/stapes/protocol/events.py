"""What can happen to a session.

Events are named in the past tense and come from the socket, the clock, the authenticator, the
recogniser or the server. What a session then wants done is in `stapes.protocol.effects`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from stapes.errors import ApiError
from stapes.protocol.heard import PartialHeard, UtteranceHeard

if TYPE_CHECKING:  # workers know events and no messages, whose models take a while to load
    from stapes.protocol.messages import Transcription


@dataclass(frozen=True, slots=True)
class TextArrived:
    """A text frame of the peer."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenOffered:
    """The peer offered a session token with its upgrade, in place of a message."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AudioArrived:
    """A binary frame of the peer: audio in the session's encoding."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer closed the socket; ``is_lost``: it broke, without a word of the peer's."""

    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class PeerAnswered:
    """The peer answered `AskPeer`, and whatever it had sent before has come."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where recognition can begin again, and with what: the same words follow as would have.

    ``audio_bytes`` counts on the stream's timeline, in its encoding; ``state`` is the engine's.
    """

    audio_bytes: int
    state: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A final as it was sent."""

    number: int
    transcription: Transcription
    through_byte: int


@dataclass(frozen=True, slots=True)
class Past:
    """What a stream was, when it is continued after its server was lost: its finals, newest last.

    ``checkpoint`` is that of the newest one. ``age_ms`` is how long ago the stream was opened.
    """

    finals: tuple[Numbered, ...]
    finals_sent: int
    checkpoint: Checkpoint
    speech_ms: int
    last_result: int
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """The peer came back on another socket, and has the finals up to ``last_result``."""

    last_result: int


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The server stops soon: a peer that can go on elsewhere is told to."""

    reconnect_within_ms: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The stream goes on elsewhere: nothing of it is to be finished here."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The authentication message was verified; what it grants travels with the session.

    ``longest_session_ms`` and ``longest_audio_ms`` are limits of the token; None: the server's.
    ``past`` is what the stream was, when it is continued.
    """

    session_id: str
    longest_session_ms: int | None = None
    longest_audio_ms: int | None = None
    expires_at: datetime | None = None
    limits: dict[str, bool | int | str] = field(default_factory=dict)
    past: Past | None = None


@dataclass(frozen=True, slots=True)
class AuthenticationRefused:
    """The authentication message was not accepted."""

    error: ApiError


@dataclass(frozen=True, slots=True)
class RecogniserTaken:
    """A recogniser is ready for this session.

    ``earlier_audio_ms`` and ``earlier_wall_ms`` are what streams of the session before this one
    used of the token's limits.
    """

    earlier_audio_ms: int = 0
    earlier_wall_ms: int = 0


@dataclass(frozen=True, slots=True)
class RecogniserRefused:
    """There is no recogniser: no capacity, or nothing installed that fits."""

    error: ApiError


@dataclass(frozen=True, slots=True)
class RecogniserFailed:
    """The recogniser or its process broke while it was in use."""

    error: ApiError


@dataclass(frozen=True, slots=True)
class PartialArrived:
    """The recogniser's current idea of the utterance."""

    heard: PartialHeard


@dataclass(frozen=True, slots=True)
class UtteranceArrived:
    """An utterance ended. ``is_answer``: it is the last word on the oldest open flush.

    ``checkpoint`` is behind it; None when recognition cannot begin again there.
    """

    heard: UtteranceHeard
    is_answer: bool
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class AudioHeard:
    """The recogniser has taken in more audio: ``audio_bytes`` of it, with that much speech.

    ``checkpoint`` comes now and then where nothing is said.
    """

    audio_bytes: int
    speech_ms: int
    is_pending: bool  # an utterance has begun and has no final yet
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class TimeElapsed:
    """The clock ticked; posted at least every 100 ms or so."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody other than the peer ends the session; ``error`` is what the peer is told."""

    error: ApiError


Event = (
    TextArrived
    | TokenOffered
    | AudioArrived
    | PeerClosed
    | PeerAnswered
    | Resumed
    | Moved
    | DrainRequested
    | Authenticated
    | AuthenticationRefused
    | RecogniserTaken
    | RecogniserRefused
    | RecogniserFailed
    | PartialArrived
    | UtteranceArrived
    | AudioHeard
    | TimeElapsed
    | StopRequested
)
