"""Tokens become words."""

from __future__ import annotations

import pytest

from stapes.engines.tokens import LONGEST_TOKEN_MS, Token, can_spell, join_tokens
from stapes.protocol.words import Word


def tokens(*texts: str) -> list[Token]:
    """A token every 100 ms."""
    return [Token(text, index * 100, 1.0) for index, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("given", "spaced", "words"),
    [
        ((" he", "llo", " world"), True, ["hello", "world"]),
        (("▁he", "llo", "▁world"), True, ["hello", "world"]),
        (("he", "llo"), True, ["hello"]),
        (("w", "e", " ", "a", "r", "e"), True, ["we", "are"]),
        (("▁", "▁one", "▁", "▁two"), True, ["one", "two"]),
        (("▁", "▁", "▁one", "▁"), True, ["one"]),
        ((" ",), True, []),
        ((), True, []),
        (("hel@@", "lo", "world"), False, ["hello", "world"]),
        (("昨", "天", "mon@@", "day"), False, ["昨", "天", "monday"]),
        (("昨", "天", " ok"), True, ["昨", "天", "ok"]),
    ],
)
def test_words(given: tuple[str, ...], spaced: bool, words: list[str]) -> None:
    """A word begins where the model's tokens say so."""
    found = join_tokens(tokens(*given), 5000, spaced=spaced)
    assert [word.text for word in found] == words


def test_times() -> None:
    """From the first token of a word to the end of its last, which lasts to the next at most."""
    first, second = join_tokens(tokens(" a", "b", " c"), 5000, spaced=True)
    assert first == Word("ab", 0, 100 + LONGEST_TOKEN_MS, 1.0)
    assert second == Word("c", 200, 200 + LONGEST_TOKEN_MS, 1.0)


def test_a_bare_space_is_the_start_of_the_word_after_it() -> None:
    """The newest one, when there are more."""
    (word,) = join_tokens(tokens(" ", " ", " a"), 5000, spaced=True)
    assert (word.start_ms, word.end_ms) == (100, 200 + LONGEST_TOKEN_MS)


def test_times_stay_in_the_audio_and_in_order() -> None:
    """Whatever a model says."""
    wild = [Token(" a", 500, 1.0), Token(" b", 100, 1.0), Token(" c", 9000, 1.0)]
    found = join_tokens(wild, 1000, spaced=True)
    assert [(word.start_ms, word.end_ms) for word in found] == [
        (500, 500),
        (500, 500),
        (1000, 1000),
    ]


def test_confidence() -> None:
    """The geometric mean of the tokens with text."""
    given = [Token(" ", 0, 0.001), Token(" a", 10, 0.9), Token("b", 20, 0.4)]
    (word,) = join_tokens(given, 1000, spaced=True)
    assert word.confidence == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("phrase", "can"),
    [
        ("ab", True),
        ("abab ab", True),
        ("ba", False),
        ("c", True),
        ("a", False),
        ("ab/c", False),
        ("", False),
        (" \n", False),
    ],
)
def test_what_can_be_spelt(phrase: str, can: bool) -> None:
    """Each word is put together of pieces, with or without the mark of its beginning."""
    assert can_spell(phrase, frozenset({"▁ab", "ab", "c"})) == can
