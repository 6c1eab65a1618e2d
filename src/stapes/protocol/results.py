"""From words that were heard to the transcription that is sent."""

from __future__ import annotations

from collections.abc import Sequence

from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.messages import Token, Transcription
from stapes.protocol.stabilize import stabilize
from stapes.protocol.words import Word


def partial(heard: PartialHeard, level: str) -> Transcription | None:
    """A partial that shows what is sure enough for ``level``; None when nothing is."""
    words = stabilize(heard.words, level)
    if not words:
        return None
    return _transcription(
        words,
        is_final=False,
        start_ms=words[0].start_ms,
        end_ms=words[-1].end_ms,
        trailing_ms=heard.silence_ms,
    )


def final(heard: UtteranceHeard) -> Transcription:
    """The final of an utterance; empty text and tokens when it holds no words."""
    return _transcription(
        heard.words,
        is_final=True,
        start_ms=heard.start_ms,
        end_ms=heard.end_ms,
        trailing_ms=heard.trailing_silence_ms,
    )


def confidence(words: Sequence[Word]) -> float:
    """Mean confidence of ``words``, weighted by their durations; 0 without words."""
    spans = [max(word.end_ms - word.start_ms, 1) for word in words]
    weighted = sum(word.confidence * span for word, span in zip(words, spans, strict=True))
    return round(weighted / sum(spans), 4) if spans else 0.0


def _transcription(
    words: Sequence[Word], *, is_final: bool, start_ms: int, end_ms: int, trailing_ms: int
) -> Transcription:
    return Transcription(
        transcription=" ".join(word.text for word in words),
        is_final=is_final,
        start_time_in_ms=start_ms,
        end_time_in_ms=end_ms,
        trailing_silence=trailing_ms,
        confidence=confidence(words),
        tokens=tuple(_token(word) for word in words),
    )


def _token(word: Word) -> Token:
    return Token(
        token=word.text,
        start_time_in_ms=word.start_ms,
        end_time_in_ms=word.end_ms,
        confidence=round(word.confidence, 4),
        type="WORD",
    )
