"""Word errors and delays."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.cli.captions import LineCaptions
from stapes.cli.measures import Stopwatch, WordErrors, count_word_errors
from stapes.client.results import Final, Partial, Result

_TEXT = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("spoken", "heard", "expected"),
    [
        ("We meet at nine o'clock.", "we meet at nine o'clock", WordErrors(0, 5)),
        ("one two three", "one three", WordErrors(1, 3)),
        ("one two", "one two two two", WordErrors(2, 2)),
        ("one two", "", WordErrors(2, 2)),
    ],
)
def test_errors_are_counted(spoken: str, heard: str, expected: WordErrors) -> None:
    """Without regard to case and punctuation."""
    assert count_word_errors(spoken, heard) == expected


@given(_TEXT.filter(bool), _TEXT)
def test_rate_is_that_of_jiwer(spoken: str, heard: str) -> None:
    """The usual tool for it agrees."""
    assert count_word_errors(spoken, heard).rate == pytest.approx(jiwer.wer(spoken, heard))


def _result(*, is_final: bool, end_ms: int = 900, silence_ms: int = 0) -> Result:
    kind = Final if is_final else Partial
    return kind("text", 250, end_ms, silence_ms, 1.0, ())


def test_delays_are_counted_from_the_audio_in_question() -> None:
    """A partial from the first word's beginning, a final from its last word's end."""
    clock = [0.0]
    watch = Stopwatch(LineCaptions(finals=False), now=lambda: clock[0])
    with watch:
        for chunk in range(1, 21):
            clock[0] = chunk * 0.1
            watch.sent(chunk * 100)
            if chunk == 5:
                clock[0] += 0.01
                watch.heard(_result(is_final=False))
            if chunk == 12:
                watch.heard(_result(is_final=False))
        watch.heard(_result(is_final=True, end_ms=1234, silence_ms=700))
        clock[0] += 5
        watch.heard(_result(is_final=True, end_ms=2000, silence_ms=10))
    # 250 ms were sent with the third chunk, 1234 ms with the thirteenth.
    assert watch.first_partial_s() == pytest.approx(0.51 - 0.3)
    assert watch.final_s(700) == pytest.approx(2.0 - 1.3)


def test_nothing_heard_has_no_delays() -> None:
    """Neither a partial nor a final."""
    watch = Stopwatch(LineCaptions(finals=False))
    watch.sent(100)
    assert watch.first_partial_s() is None
    assert watch.final_s(0) is None
