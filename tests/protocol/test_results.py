"""From words to transcriptions."""

from __future__ import annotations

import pytest

from stapes.protocol import results
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.words import Word

WORDS = (Word("hello", 100, 400, 0.9), Word("there", 400, 500, 0.5))


def test_confidence_is_weighted_by_duration() -> None:
    """Three parts of 0.9 and one of 0.5."""
    assert results.confidence(WORDS) == pytest.approx(0.8)
    assert results.confidence(()) == 0
    assert results.confidence((Word("x", 5, 5, 0.4),)) == pytest.approx(0.4)


def test_a_partial_spans_what_it_shows() -> None:
    """Withheld words count neither for the text nor for the times."""
    shown = results.partial(PartialHeard(WORDS, silence_ms=40), "MEDIUM")
    assert shown is not None
    assert (shown.transcription, shown.is_final) == ("hello", False)
    assert (shown.start_time_in_ms, shown.end_time_in_ms, shown.trailing_silence) == (100, 400, 40)
    assert results.partial(PartialHeard(WORDS[1:], silence_ms=0), "HIGH") is None


def test_a_final_joins_its_words() -> None:
    """The tokens are the words, the text the words with spaces between."""
    shown = results.final(UtteranceHeard(WORDS, 2000, 100, 500, 2500))
    assert shown.transcription == "hello there"
    assert [token.token for token in shown.tokens] == ["hello", "there"]
    assert shown.trailing_silence == 2000


def test_an_empty_final_has_no_tokens_and_a_time() -> None:
    """It stands at the stream's time."""
    shown = results.final(UtteranceHeard((), 0, 1500, 1500, 1500))
    assert (shown.transcription, shown.tokens, shown.confidence) == ("", (), 0)
    assert shown.start_time_in_ms == shown.end_time_in_ms == 1500
