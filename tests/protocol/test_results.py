"""From words to transcriptions."""

from __future__ import annotations

import pytest

from stapes.protocol import results
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.params import Params
from stapes.protocol.words import Word

WORDS = (Word("hello", 100, 400, 0.9), Word("there", 400, 500, 0.5))


def test_confidence_is_weighted_by_duration() -> None:
    """Three parts of 0.9 and one of 0.5."""
    assert results.confidence(WORDS) == pytest.approx(0.8)
    assert results.confidence(()) == 0
    assert results.confidence((Word("x", 5, 5, 0.4),)) == pytest.approx(0.4)


def test_a_partial_spans_what_it_shows() -> None:
    """Withheld words count neither for the text nor for the times."""
    shown = results.partial(PartialHeard(WORDS, silence_ms=40), Params(stabilize="MEDIUM"))
    assert shown is not None
    assert (shown.transcription, shown.is_final) == ("hello", False)
    assert (shown.start_time_in_ms, shown.end_time_in_ms, shown.trailing_silence) == (100, 400, 40)
    assert results.partial(PartialHeard(WORDS[1:], silence_ms=0), Params(stabilize="HIGH")) is None


def test_a_final_joins_its_words() -> None:
    """The tokens are the words, the text the words with spaces between."""
    shown = results.final(UtteranceHeard(WORDS, 2000, 100, 500, 2500), Params())
    assert shown.transcription == "hello there"
    assert [token.token for token in shown.tokens] == ["hello", "there"]
    assert shown.trailing_silence == 2000


def test_an_empty_final_has_no_tokens_and_a_time() -> None:
    """It stands at the stream's time."""
    shown = results.final(UtteranceHeard((), 0, 1500, 1500, 1500), Params())
    assert (shown.transcription, shown.tokens, shown.confidence) == ("", (), 0)
    assert shown.start_time_in_ms == shown.end_time_in_ms == 1500


def test_marks_are_tokens_of_their_own_with_no_space_before_them() -> None:
    """A mark is of type PUNCTUATION and counts for no confidence."""
    shown = results.final(
        UtteranceHeard(WORDS, 2000, 100, 500, 2500), Params(punctuation="AUTO", language="en-US")
    )
    assert shown.transcription == "Hello there."
    assert [token.type for token in shown.tokens] == ["WORD", "WORD", "PUNCTUATION"]
    mark = shown.tokens[-1]
    assert (mark.start_time_in_ms, mark.end_time_in_ms, mark.confidence) == (500, 500, 0.5)
    assert shown.confidence == pytest.approx(0.8)


@pytest.mark.parametrize("mode", ["NONE", "SPOKEN", "AUTO"])
def test_marks_of_whisper_are_tokens_whatever_is_asked_for(mode: str) -> None:
    """Its models punctuate by themselves; no rule of ours adds anything to it."""
    said = (Word("hello,", 100, 400, 0.9), Word("there", 400, 500, 0.5))
    shown = results.final(
        UtteranceHeard(said, 2000, 100, 500, 2500),
        Params(model_type="WHISPER", language="en", punctuation=mode),
    )
    assert shown.transcription == "hello, there"
    assert [(token.token, token.type) for token in shown.tokens] == [
        ("hello", "WORD"),
        (",", "PUNCTUATION"),
        ("there", "WORD"),
    ]
    assert shown.tokens[1].start_time_in_ms == shown.tokens[1].end_time_in_ms == 400
    assert shown.confidence == pytest.approx(0.8)


def test_a_spoken_mark_counts_for_the_span() -> None:
    """The utterance lasts until the mark was spoken; what is shown are word and mark."""
    words = (WORDS[0], Word("comma", 400, 800, 0.9))
    shown = results.partial(
        PartialHeard(words, silence_ms=0), Params(punctuation="SPOKEN", language="en-GB")
    )
    assert shown is not None
    assert (shown.transcription, shown.end_time_in_ms) == ("hello,", 800)
    assert shown.tokens[1].start_time_in_ms == shown.tokens[1].end_time_in_ms == 400


@pytest.mark.parametrize("mode", ["NONE", "SPOKEN", "AUTO"])
@pytest.mark.parametrize(
    "said", ["hello there", "hello comma are you there question mark", "period"]
)
def test_attached_words_joined_by_spaces_are_the_text(mode: str, said: str) -> None:
    """Marks go with the word before them; one that comes first stands alone."""
    words = tuple(Word(text, 9 * at, 9 * at + 9, 1.0) for at, text in enumerate(said.split()))
    shown = results.final(
        UtteranceHeard(words, 0, 0, 90, 90), Params(punctuation=mode, language="en-US")
    )
    assert " ".join(word.text for word in results.attached(shown)) == shown.transcription
