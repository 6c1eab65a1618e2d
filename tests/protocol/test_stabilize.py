"""Holding back unsure words."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stapes.protocol.stabilize import LEVELS, stabilize
from stapes.protocol.words import Word

WORDS = st.lists(st.builds(Word, st.just("w"), st.just(0), st.just(1), st.floats(0, 1)), max_size=8)


@given(WORDS)
def test_what_is_shown_is_a_beginning_and_shrinks_with_the_level(words: list[Word]) -> None:
    """A stricter level never shows more."""
    shown = [stabilize(words, level) for level in LEVELS]
    assert shown[0] == tuple(words)
    for looser, stricter in pairwise(shown):
        assert looser[: len(stricter)] == stricter


@given(WORDS)
def test_only_trailing_words_are_withheld(words: list[Word]) -> None:
    """An unsure word in the middle stays: the sure one after it vouches for it."""
    shown = stabilize(words, "HIGH")
    assert not shown or shown[-1].confidence >= LEVELS["HIGH"]
    rest = words[len(shown) :]
    assert all(word.confidence < LEVELS["HIGH"] for word in rest)
