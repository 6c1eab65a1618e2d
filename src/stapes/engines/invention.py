"""Text that a recogniser made up: what Whisper says of silence, noise and music.

A model that was taught to write a sentence for any audio writes one for audio without speech, too:
a phrase it has often seen, or one phrase over and over. It gives itself away by its own figures
and by how the text looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stapes.protocol.words import Word

LEAST_LOGPROB = -1.0
"""Mean log probability of a token; below it the text is a guess."""

HOPELESS_LOGPROB = -1.6
"""Below it the text is no guess even: a token in five, as if drawn by lot."""

MOST_NO_SPEECH = 0.6
"""Probability that there is no speech, from which on a guess is not believed."""

MOST_COMPRESSION = 2.4
"""Bytes of text over bytes of it compressed; speech hardly ever repeats itself so much."""

LONGEST_LOOP = 6  # words in a phrase that is said over and over
MOST_TIMES = {1: 6}  # how often a phrase of so many words may follow itself
USUAL_MOST_TIMES = 3


@dataclass(frozen=True, slots=True)
class Passage:
    """What a model made of one piece of audio, with its own figures about it.

    Attributes:
        words: the words, in order.
        logprob: mean log probability of the tokens.
        no_speech: probability that there is no speech in the audio, 0..1.
        compression: bytes of the text over bytes of the text compressed.
    """

    words: tuple[Word, ...]
    logprob: float
    no_speech: float
    compression: float


def is_invented(passage: Passage) -> bool:
    """Whether a passage is not to be believed."""
    if passage.logprob < HOPELESS_LOGPROB:
        return True
    if passage.logprob < LEAST_LOGPROB and passage.no_speech > MOST_NO_SPEECH:
        return True
    return is_looping(passage)


def is_looping(passage: Passage) -> bool:
    """Whether a passage repeats itself as nobody does who speaks."""
    said = [word.text.casefold().strip(".,?!… ") for word in passage.words]
    return passage.compression > MOST_COMPRESSION or any(
        _times(said, length) > MOST_TIMES.get(length, USUAL_MOST_TIMES)
        for length in range(1, LONGEST_LOOP + 1)
    )


def _times(said: Sequence[str], length: int) -> int:
    """The most often that any phrase of ``length`` words follows itself; 1 for not at all."""
    most = run = 0
    for at in range(length, len(said)):
        run = run + 1 if said[at] == said[at - length] else 0
        most = max(most, run)
    return most // length + 1
