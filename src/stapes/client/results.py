"""What a session heard, as programs get it. Times are ms on the session's audio timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from stapes.protocol.messages import Transcription
from stapes.protocol.results import attached
from stapes.protocol.words import Word


@dataclass(frozen=True, slots=True)
class _Heard:
    """What partials and finals have in common.

    Attributes:
        trailing_silence_ms: silence heard after the last word, ms.
        confidence: 0..1.
        words: the words, each with the punctuation that follows it, so that joined by spaces
            they are the text.
    """

    text: str
    start_ms: int
    end_ms: int
    trailing_silence_ms: int
    confidence: float
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Partial(_Heard):
    """An utterance as it stands; the next result replaces it."""

    is_final: ClassVar[Literal[False]] = False


@dataclass(frozen=True, slots=True)
class Final(_Heard):
    """An utterance that will not change any more."""

    is_final: ClassVar[Literal[True]] = True


Result = Partial | Final


def result_of(shown: Transcription) -> Result:
    """The typed result of a transcription of the wire."""
    kind = Final if shown.is_final else Partial
    return kind(
        text=shown.transcription,
        start_ms=shown.start_time_in_ms,
        end_ms=shown.end_time_in_ms,
        trailing_silence_ms=shown.trailing_silence,
        confidence=shown.confidence,
        words=attached(shown),
    )
