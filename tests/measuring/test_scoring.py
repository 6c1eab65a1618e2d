"""Word errors and their intervals."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from stapes.errors import MeasuringError
from stapes.measuring.scoring import Scored, interval, normaliser, score, word_error_rate, worst


def scored(words: int, errors: int) -> Scored:
    return Scored("", "", words, errors, 0, 0, True, True)


def test_errors_are_told_apart() -> None:
    """One word is another, one is missing, one is too many; spelling and marks do not count."""
    found = score("The colour is red, mostly.", "the color was read mostly so")
    assert (found.words, found.substitutions, found.deletions, found.insertions) == (5, 2, 0, 1)
    assert score("red green blue", "red blue").deletions == 1


@pytest.mark.parametrize(
    ("heard", "first", "last"),
    [
        ("red green blue", True, True),
        ("green blue", False, True),
        ("red green", True, False),
        ("a red green blew", True, False),
        ("", False, False),
    ],
)
def test_first_and_last_words(heard: str, first: bool, last: bool) -> None:
    """A word is right when the alignment finds it where it was spoken."""
    found = score("red green blue", heard)
    assert (found.first_right, found.last_right) == (first, last)


def test_silence_has_insertions_only() -> None:
    """Where nothing was spoken, every word is one too many."""
    found = score("", "oh hello")
    assert (found.words, found.insertions, found.errors) == (0, 2, 2)


def test_other_languages_keep_their_words() -> None:
    """English spelling rules are for English alone."""
    assert normaliser("de")("Das Café, heute!") == "das café heute"


def test_rate_of_a_set() -> None:
    """Errors over words of all utterances together, in percent."""
    rate = word_error_rate([scored(10, 1), scored(30, 5)])
    assert (rate.percent, rate.words, rate.substitutions) == (15.0, 40, 6)
    assert rate.low <= rate.percent <= rate.high


def test_interval_of_equals_is_a_point() -> None:
    """Utterances with the same rate leave no doubt."""
    assert interval(np.full(20, 3), np.full(20, 10)) == (30.0, 30.0)


def test_interval_narrows_with_more_utterances() -> None:
    """A hundred times the utterances, a tenth of the width."""
    widths = []
    for count in (20, 2000):
        low, high = interval(np.arange(count) % 2 * 4, np.full(count, 10))
        assert low < 20 < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.2)


def test_interval_is_the_same_again() -> None:
    """One seed, one interval."""
    errors, words = np.arange(30) % 3, np.full(30, 9)
    assert interval(errors, words, seed=4) == interval(errors, words, seed=4)


def test_worst_utterances() -> None:
    """Most errors first, among equals the shortest; those without any do not count."""
    some = [scored(9, 0), scored(9, 2), scored(4, 2), scored(9, 3)]
    assert worst(some, 2) == [some[3], some[2]]
    assert len(worst(some, 9)) == 3


@pytest.mark.parametrize("package", ["jiwer", "whisper_normalizer.basic"])
def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """It names the command that installs it."""
    normaliser.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MeasuringError, match=r"pip install 'stapes\[bench\]'"):
        score("one", "one")
