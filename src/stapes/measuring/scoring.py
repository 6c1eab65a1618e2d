"""Word errors of a set of utterances, and how sure the rate is.

Both sides are normalised alike: English by the rules that the Whisper authors published, other
languages by their language-neutral ones. The interval is a percentile bootstrap over utterances
(Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
ICASSP 2004): words of an utterance are right or wrong together, so utterances are drawn, not words.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from stapes.errors import MeasuringError

DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance: what was spoken and heard, normalised, and the errors between them."""

    spoken: str
    heard: str
    words: int
    substitutions: int
    deletions: int
    insertions: int
    first_right: bool
    last_right: bool

    @property
    def errors(self) -> int:
        """All errors together."""
        return self.substitutions + self.deletions + self.insertions


@dataclass(frozen=True, slots=True)
class WordErrorRate:
    """The word error rate of a set, percent, with its 95 % confidence interval."""

    percent: float
    low: float
    high: float
    words: int
    substitutions: int
    deletions: int
    insertions: int
    utterances: int = 1


def score(spoken: str, heard: str, language: str = "en") -> Scored:
    """Align what was heard with what was spoken. Raises `MeasuringError` without the extra."""
    jiwer = _jiwer()
    normalise = normaliser(language)
    wanted, got = normalise(spoken), normalise(heard)
    if not wanted.split():
        return Scored(wanted, got, 0, 0, 0, len(got.split()), not got, not got)
    found = jiwer.process_words(wanted, got)
    right = {
        index
        for chunk in found.alignments[0]
        if chunk.type == "equal"
        for index in range(chunk.ref_start_idx, chunk.ref_end_idx)
    }
    count = len(wanted.split())
    errors = (found.substitutions, found.deletions, found.insertions)
    return Scored(wanted, got, count, *errors, 0 in right, count - 1 in right)


def word_error_rate(scored: Sequence[Scored], seed: int = 0) -> WordErrorRate:
    """The rate over all utterances of a set. The same ``seed`` gives the same interval."""
    errors = np.array([each.errors for each in scored])
    words = np.array([each.words for each in scored])
    low, high = interval(errors, words, seed)
    return WordErrorRate(
        _percent(errors.sum(), words.sum()),
        low,
        high,
        int(words.sum()),
        sum(each.substitutions for each in scored),
        sum(each.deletions for each in scored),
        sum(each.insertions for each in scored),
        len(scored),
    )


def interval(
    errors: np.ndarray[tuple[int], np.dtype[np.int64]],
    words: np.ndarray[tuple[int], np.dtype[np.int64]],
    seed: int = 0,
) -> tuple[float, float]:
    """Bounds, percent, of the share of ``errors`` in ``words``, one of each an utterance."""
    chance = np.random.default_rng(seed)
    drawn = chance.integers(0, len(errors), (DRAWS, len(errors)))
    rates = 100 * errors[drawn].sum(axis=1) / np.maximum(words[drawn].sum(axis=1), 1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(rates, [tail, 100 - tail])
    return round(float(low), 2), round(float(high), 2)


def worst(scored: Sequence[Scored], most: int) -> list[Scored]:
    """The utterances with the most errors, the worst first; those without any are left out."""
    wrong = [each for each in scored if each.errors]
    return sorted(wrong, key=lambda each: (-each.errors, each.words))[:most]


@cache
def normaliser(language: str) -> Callable[[str], str]:
    """Maps a text to what is compared. Raises `MeasuringError` without the extra."""
    try:
        with warnings.catch_warnings():  # its docstrings have escapes that the compiler warns of
            warnings.simplefilter("ignore")
            from whisper_normalizer.basic import BasicTextNormalizer
            from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise missing("scores", "whisper-normalizer") from None
    is_english = language.partition("-")[0] == "en"
    chosen = EnglishTextNormalizer() if is_english else BasicTextNormalizer()
    return lambda text: " ".join(str(chosen(text)).split())


def missing(what: str, package: str) -> MeasuringError:
    """Says which extra something needs."""
    return MeasuringError(f"{what} need the package {package}: pip install 'stapes[bench]'")


def _jiwer() -> Any:
    try:
        import jiwer
    except ImportError:
        raise missing("scores", "jiwer") from None
    return jiwer


def _percent(errors: int, words: int) -> float:
    return round(100 * float(errors) / max(1, int(words)), 2)
