"""From words that were heard to the transcription that is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.messages import Token, Transcription
from stapes.protocol.params import Params
from stapes.protocol.punctuation import Mark, punctuate
from stapes.protocol.stabilize import stabilize
from stapes.protocol.words import Word


def partial(heard: PartialHeard, params: Params) -> Transcription | None:
    """A partial that shows what is sure enough for the client; None when nothing is."""
    words = stabilize(heard.words, params.stabilize)
    if not words:
        return None
    return _transcription(
        punctuate(words, _mode(params), params.language, is_final=False),
        is_final=False,
        start_ms=words[0].start_ms,
        end_ms=words[-1].end_ms,
        trailing_ms=heard.silence_ms,
    )


def final(heard: UtteranceHeard, params: Params) -> Transcription:
    """The final of an utterance; empty text and tokens when it holds no words."""
    return _transcription(
        punctuate(heard.words, _mode(params), params.language, is_final=True),
        is_final=True,
        start_ms=heard.start_ms,
        end_ms=heard.end_ms,
        trailing_ms=heard.trailing_silence_ms,
    )


def attached(shown: Transcription) -> tuple[Word, ...]:
    """The words shown, each with the marks that follow it: joined by spaces they are the text."""
    words: list[Word] = []
    for token in shown.tokens:
        if token.type == "PUNCTUATION" and words:
            last = words[-1]
            words[-1] = replace(last, text=last.text + token.token)
        else:
            words.append(
                Word(token.token, token.start_time_in_ms, token.end_time_in_ms, token.confidence)
            )
    return tuple(words)


def confidence(words: Sequence[Word]) -> float:
    """Mean confidence of ``words`` without marks, weighted by their durations; 0 without words."""
    words = [word for word in words if not isinstance(word, Mark)]
    spans = [max(word.end_ms - word.start_ms, 1) for word in words]
    weighted = sum(word.confidence * span for word, span in zip(words, spans, strict=True))
    return round(weighted / sum(spans), 4) if spans else 0.0


def _mode(params: Params) -> str:
    """WHISPER models punctuate by themselves; the parameter changes nothing for them."""
    return "NONE" if params.model_type == "WHISPER" else params.punctuation


def _transcription(
    words: Sequence[Word], *, is_final: bool, start_ms: int, end_ms: int, trailing_ms: int
) -> Transcription:
    return Transcription(
        transcription="".join(_spaced(word) for word in words).lstrip(" "),
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
        type="PUNCTUATION" if isinstance(word, Mark) else "WORD",
    )


def _spaced(word: Word) -> str:
    return word.text if isinstance(word, Mark) else f" {word.text}"
