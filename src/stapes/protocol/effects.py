"""What a session wants done: imperatives, which the pump performs in order.

Those that ask for something name the event of `stapes.protocol.events` that answers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stapes.protocol.events import Checkpoint, Numbered, TokenOffered
from stapes.protocol.extension import Extended
from stapes.protocol.messages import Authentication, Outgoing, Transcription
from stapes.protocol.params import Params

Ending = Literal["peer", "limit", "idle", "refused", "failed", "stopped", "revoked", "moved"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the peer."""

    message: Outgoing | Extended


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket with a code of RFC 6455 section 7.4."""

    code: int


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Verify the message; answer with `Authenticated` or `AuthenticationRefused`."""

    message: Authentication | TokenOffered


@dataclass(frozen=True, slots=True)
class TakeRecogniser:
    """Get a recogniser; answer with `RecogniserTaken` or `RecogniserRefused`.

    With a ``checkpoint`` it goes on from there.
    """

    params: Params
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class FeedRecogniser:
    """Give audio to the recogniser, in the session's encoding."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class FlushRecogniser:
    """End the utterance now; the recogniser answers with one `UtteranceArrived`."""


@dataclass(frozen=True, slots=True)
class AskPeer:
    """Ask whether more is on its way; answer with `PeerAnswered` behind what had been sent."""


@dataclass(frozen=True, slots=True)
class PauseReading:
    """Read no more from the socket: TCP then slows the peer down."""


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Read from the socket again."""


@dataclass(frozen=True, slots=True)
class SaveFinal:
    """Keep a final transcription; ``number`` counts from 1 within the stream.

    With a ``checkpoint``, also what is needed to continue the stream behind it: the last finals
    and how much speech there was.
    """

    number: int
    transcription: Transcription
    checkpoint: Checkpoint | None = None
    finals: tuple[Numbered, ...] = ()
    speech_ms: int = 0


@dataclass(frozen=True, slots=True)
class SavePoint:
    """Keep what is needed to continue the stream behind a silence: as in `SaveFinal`.

    ``number`` is that of the last final; 0: there was none.
    """

    number: int
    checkpoint: Checkpoint
    finals: tuple[Numbered, ...]
    speech_ms: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Let go of everything and account for the session; always the last effect."""

    ending: Ending
    audio_ms: int
    speech_ms: int


Effect = (
    Send
    | Close
    | Authenticate
    | TakeRecogniser
    | FeedRecogniser
    | FlushRecogniser
    | AskPeer
    | PauseReading
    | ResumeReading
    | SaveFinal
    | SavePoint
    | Finish
)
