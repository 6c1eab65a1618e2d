"""How late results came: first partials after first words, finals after the end of speech.

Where speech begins and ends is told by the loudness of the audio (`speech_span_ms`), not by what
was heard. A delay counts from when that moment would have been spoken. A threshold below 200 ms
counts as 200 ms: that long it takes until silence is sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

import numpy as np

from stapes.audio.endpoints import SHORTEST_SILENCE_MS
from stapes.measuring.playing import Script, Shown

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Delays:
    """What one play of a script showed, ms, one entry a clip in which it could be told.

    Attributes:
        first_partial_ms: from the begin of the clip's first word to its first partial.
        final_ms: from the end of its speech, and the threshold after it, to its last final.
        decided_ms: the same by the audio's own clock: how much audio the final had waited for.
        missed: clips of which no final came within the silence that followed them.
    """

    first_partial_ms: tuple[float, ...]
    final_ms: tuple[float, ...]
    decided_ms: tuple[float, ...]
    missed: int
    taken_back: int
    words: int


def delays(played: Script, shown: Sequence[Shown], threshold_ms: int) -> Delays:
    """Measure the results of one play."""
    due_after_ms = max(threshold_ms, SHORTEST_SILENCE_MS)
    partials, finals, decided, missed = [], [], [], 0
    length_ms = len(played.pcm) // 16
    nexts = [begin for begin, _ in played.spans_ms[1:]] + [length_ms]
    for (begin_ms, end_ms), next_ms in zip(played.spans_ms, nexts, strict=True):
        own = [each for each in shown if begin_ms <= each.result.end_ms < next_ms]
        if own and not own[0].result.is_final:
            partials.append(own[0].at_s * 1000 - begin_ms)
        # Audio ends with a final that is asked for: only those that silence brought about count.
        ended = [each for each in own if each.result.is_final and _through_ms(each) < length_ms]
        if ended and ended[-1] is own[-1]:
            finals.append(ended[-1].at_s * 1000 - end_ms - due_after_ms)
            decided.append(float(_through_ms(ended[-1]) - end_ms - due_after_ms))
        else:
            missed += 1
    back, words = revisions(shown)
    return Delays(tuple(partials), tuple(finals), tuple(decided), missed, back, words)


def joined(found: Sequence[Delays]) -> Delays:
    """Several plays as one."""
    return Delays(
        tuple(value for each in found for value in each.first_partial_ms),
        tuple(value for each in found for value in each.final_ms),
        tuple(value for each in found for value in each.decided_ms),
        sum(each.missed for each in found),
        sum(each.taken_back for each in found),
        sum(each.words for each in found),
    )


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99 of ``values``, to whole ms; None when there are none."""
    if not values:
        return {f"p{share}": None for share in PERCENTILES}
    found = np.percentile(values, PERCENTILES)
    return {f"p{share}": float(round(at)) for share, at in zip(PERCENTILES, found, strict=True)}


def as_figures(found: Delays) -> dict[str, object]:
    """The figures of ``found``: percentiles in ms, and words taken back per 100 words."""
    rate = round(100 * found.taken_back / max(1, found.words), 2)
    rows: Mapping[str, Sequence[float]] = {
        "first_partial_ms": found.first_partial_ms,
        "final_beyond_threshold_ms": found.final_ms,
        "final_beyond_threshold_audio_ms": found.decided_ms,
    }
    clips = len(found.final_ms) + found.missed
    without = clips - len(found.first_partial_ms)
    counts = {"clips": clips, "missed": found.missed, "without_partials": without}
    told = {name: percentiles(values) for name, values in rows.items()}
    return {**counts, **told, "taken_back_per_100_words": rate}


def revisions(shown: Sequence[Shown]) -> tuple[int, int]:
    """Words that were shown and taken back, and words of the finals."""
    spoken = utterances(shown)
    words = sum(len(each[-1].result.words) for each in spoken)
    return sum(taken_back(each) for each in spoken), words


def utterances(shown: Sequence[Shown]) -> list[list[Shown]]:
    """The results of each utterance in order, its final last."""
    found: list[list[Shown]] = [[]]
    for each in shown:
        found[-1].append(each)
        if each.result.is_final:
            found.append([])
    return found[:-1]


def taken_back(utterance: Sequence[Shown]) -> int:
    """Words shown that the result after them no longer has in their place."""
    texts = [[word.text for word in each.result.words] for each in utterance]
    return sum(len(before) - _common(before, after) for before, after in pairwise(texts))


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    same = (old == new for old, new in zip(before, after, strict=False))
    return sum(1 for _ in takewhile(bool, same))


def _through_ms(shown: Shown) -> int:
    return shown.result.end_ms + shown.result.trailing_silence_ms
