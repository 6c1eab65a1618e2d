"""Telling what was made up from what was said."""

from __future__ import annotations

import pytest

from stapes.engines.invention import Passage, is_invented, is_looping
from stapes.protocol.words import Word


def passage(
    text: str, logprob: float = -0.3, no_speech: float = 0.1, compression: float = 1.2
) -> Passage:
    words = tuple(Word(word, at, at + 1, 0.9) for at, word in enumerate(text.split()))
    return Passage(words, logprob, no_speech, compression)


@pytest.mark.parametrize(
    ("logprob", "no_speech", "invented"),
    [
        (-0.3, 0.0, False),
        (-0.3, 0.99, False),  # sure of its words: quiet speech looks like none
        (-1.2, 0.1, False),  # a guess at speech that is hard to hear
        (-1.2, 0.9, True),
        (-2.5, 0.0, True),
    ],
)
def test_figures(logprob: float, no_speech: float, invented: bool) -> None:
    """A guess at what is likely no speech is made up, and so is what is less than a guess."""
    assert is_invented(passage("thank you", logprob, no_speech)) is invented


@pytest.mark.parametrize(
    ("text", "looping"),
    [
        ("", False),
        ("no no no no", False),
        ("ha ha ha ha ha ha", False),
        ("ha " * 7, True),
        ("Ha. ha, HA ha ha! ha ha", True),
        ("bye bye see you bye bye see you", False),
        ("bye bye see you " * 4, True),
        ("it was one and one and one and one and", True),
        ("one two three four five six seven", False),
    ],
)
def test_loops(text: str, looping: bool) -> None:
    """People say a word six times or a phrase three times in a row, and no more."""
    assert is_looping(passage(text)) is looping
    assert is_invented(passage(text)) is looping


def test_compression() -> None:
    """A text that can be packed very small is a loop, though no phrase of words follows itself."""
    assert is_looping(passage("lalalalalalalalalala", compression=2.5))
