"""What the ear reports of one stream: running hypotheses and finished utterances.

All times are ms on the stream's audio timeline: samples received so far over the sample rate,
never reset within a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

from stapes.protocol.words import Word


@dataclass(frozen=True, slots=True)
class PartialHeard:
    """The words of the current utterance as they stand; replaces the partial before it.

    Attributes:
        words: every word since the utterance began, at least one.
        silence_ms: silence since speech was last heard; 0 while there is speech.
    """

    words: tuple[Word, ...]
    silence_ms: int


@dataclass(frozen=True, slots=True)
class UtteranceHeard:
    """An utterance has ended; its words will not change any more.

    Attributes:
        words: the words; none only as the answer to a flush with nothing to say.
        trailing_silence_ms: silence heard after the last word.
        start_ms: start of the first word; the stream's time when there are no words.
        end_ms: end of the last word; the stream's time when there are no words.
        through_ms: all audio before this is accounted for.
    """

    words: tuple[Word, ...]
    trailing_silence_ms: int
    start_ms: int
    end_ms: int
    through_ms: int


Heard = PartialHeard | UtteranceHeard
