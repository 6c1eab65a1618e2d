"""What a demonstration measures: word errors, and how late the words came."""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from types import TracebackType
from typing import Self

from stapes.cli.captions import Captions
from stapes.client.results import Result

_WORD = re.compile(r"[a-z0-9']+")


@dataclass(frozen=True, slots=True)
class WordErrors:
    """``errors`` words were wrong, missing or too many, of ``words`` that were spoken."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate; 0 is perfect, it may exceed 1."""
        return self.errors / max(1, self.words)


def count_word_errors(spoken: str, heard: str) -> WordErrors:
    """Word edit distance (Levenshtein) of two texts, without regard to case and punctuation."""
    wanted, got = _WORD.findall(spoken.lower()), _WORD.findall(heard.lower())
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        above, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return WordErrors(row[-1], len(wanted))


class Stopwatch:
    """Captions that pass everything on and note when it happened.

    All delays are in seconds, from the moment the audio in question had been sent.
    """

    def __init__(self, captions: Captions, now: Callable[[], float] = time.monotonic) -> None:
        self._captions = captions
        self._now = now
        self._sent_ms: list[int] = []
        self._sent_at: list[float] = []
        self._first_partial_at: float | None = None
        self._finals: list[tuple[Result, float]] = []

    def __enter__(self) -> Self:
        self._captions.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._captions.__exit__(kind, error, traceback)

    def sent(self, audio_ms: int) -> None:
        """Note when audio up to ``audio_ms`` had been sent."""
        self._sent_ms.append(audio_ms)
        self._sent_at.append(self._now())
        self._captions.sent(audio_ms)

    def heard(self, result: Result) -> None:
        """Note when the first partial and each final came."""
        if result.is_final and result.text:
            self._finals.append((result, self._now()))
        elif result.text and self._first_partial_at is None:
            self._first_partial_at = self._now()
        self._captions.heard(result)

    def first_partial_s(self) -> float | None:
        """From the beginning of the first word to the first partial."""
        if self._first_partial_at is None or not self._finals:
            return None
        return self._first_partial_at - self._sent(self._finals[0][0].start_ms)

    def final_s(self, threshold_ms: int) -> float | None:
        """From the end of the last word of a final to the final; the median.

        Only of finals that ``threshold_ms`` of silence brought about.
        """
        delays = [
            at - self._sent(final.end_ms)
            for final, at in self._finals
            if final.trailing_silence_ms >= threshold_ms
        ]
        return median(delays) if delays else None

    def _sent(self, audio_ms: int) -> float:
        """When the audio at ``audio_ms`` had been sent."""
        place = bisect_left(self._sent_ms, audio_ms)
        return self._sent_at[min(place, len(self._sent_at) - 1)]


def as_text(finals: Sequence[Result]) -> str:
    """All that was heard, in one line."""
    return " ".join(final.text for final in finals)
