"""Where speech begins and ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.audio.encodings import Pcm
from stapes.audio.segments import (
    WINDOW_SAMPLES,
    Segmenter,
    SegmentEvent,
    SegmentRules,
    SilenceContinued,
    SpeechContinued,
    SpeechEnded,
    SpeechStarted,
)

RULES = SegmentRules(0.5, 0.35, pre_roll_ms=96, hangover_ms=128, longest_ms=960)
SPEECH, MAYBE, SILENCE = 16384, 13107, 0


def level(window: NDArray[np.float32], /) -> float:
    """The loudest sample is the probability: 16384 is 0.5, 13107 is 0.4."""
    return float(np.abs(window).max())


def stream(*levels: int) -> Pcm:
    """One window for each level, all its samples at it."""
    return np.repeat(np.array(levels, np.int16), WINDOW_SAMPLES)


def events(pcm: Pcm, rules: SegmentRules = RULES) -> list[SegmentEvent]:
    segmenter = Segmenter(level, rules)
    return [*segmenter.accept(pcm), *segmenter.flush()]


def edges(found: Iterable[SegmentEvent]) -> list[tuple[str, int]]:
    """The begins and ends, in windows."""
    return [
        (type(event).__name__, event.at_sample // WINDOW_SAMPLES)
        for event in found
        if isinstance(event, SpeechStarted | SpeechEnded)
    ]


def fed(found: Iterable[SegmentEvent]) -> Pcm:
    pieces = [event.pcm for event in found if isinstance(event, SpeechContinued)]
    return np.concatenate((np.empty(0, np.int16), *pieces))


def test_silence() -> None:
    """Silence makes no segment, and tells how far it has come."""
    found = events(stream(*[SILENCE] * 3))
    assert found == [SilenceContinued(WINDOW_SAMPLES * count) for count in (1, 2, 3)]


def test_pre_roll_and_hangover() -> None:
    """A segment has three windows before its first speech and four after its last."""
    found = events(stream(*[SILENCE] * 5, SPEECH, SPEECH, *[SILENCE] * 9))
    assert edges(found) == [("SpeechStarted", 2), ("SpeechEnded", 11)]
    assert len(fed(found)) == 9 * WINDOW_SAMPLES
    ended = next(event for event in found if isinstance(event, SpeechEnded))
    assert ended.last_speech_sample == 7 * WINDOW_SAMPLES


def test_two_thresholds() -> None:
    """A probability between the two thresholds begins nothing but keeps what has begun."""
    assert edges(events(stream(*[MAYBE] * 9))) == []
    found = events(stream(SPEECH, *[MAYBE] * 9, *[SILENCE] * 4))
    assert edges(found) == [("SpeechStarted", 0), ("SpeechEnded", 14)]


def test_no_audio_twice() -> None:
    """The pre-roll of a segment never reaches into the segment before it."""
    pcm = stream(SPEECH, *[SILENCE] * 5, SPEECH, *[SILENCE] * 4)
    found = events(pcm)
    assert edges(found) == [
        *(("SpeechStarted", 0), ("SpeechEnded", 5)),
        *(("SpeechStarted", 5), ("SpeechEnded", 11)),
    ]
    assert np.array_equal(fed(found), pcm)


def test_longest() -> None:
    """Speech without a pause is cut at the longest length, and goes on in the next window."""
    found = events(stream(*[SPEECH] * 40))
    assert edges(found) == [
        *(("SpeechStarted", 0), ("SpeechEnded", 30)),
        *(("SpeechStarted", 30), ("SpeechEnded", 40)),
    ]


@pytest.mark.parametrize(("speech", "ends"), [(10, 14), (20, 22)])
def test_long(speech: int, ends: int) -> None:
    """In a long segment a shorter pause is enough: two windows instead of four."""
    rules = replace(RULES, long_ms=640, long_hangover_ms=64)
    found = events(stream(*[SPEECH] * speech, *[SILENCE] * 5), rules)
    assert edges(found) == [("SpeechStarted", 0), ("SpeechEnded", ends)]


def test_flush_hands_out_the_unfinished_window() -> None:
    """A flush feeds what has not filled a window yet and ends the segment there."""
    pcm = stream(SPEECH, SPEECH)[:-100]
    found = events(pcm)
    assert np.array_equal(fed(found), pcm)
    assert found[-1] == SpeechEnded(len(pcm), WINDOW_SAMPLES)


def test_goes_on_after_a_flush() -> None:
    """After a flush the sample count goes on and windows begin anew."""
    segmenter = Segmenter(level, RULES)
    list(segmenter.accept(stream(SILENCE)[:100]))
    assert list(segmenter.flush()) == []
    found = list(segmenter.accept(stream(SPEECH)))
    assert found[0] == SpeechStarted(0)
    assert isinstance(found[1], SpeechContinued)
    assert found[1].through_sample == 100 + WINDOW_SAMPLES
    assert segmenter.speaking


def test_a_flush_with_nothing_to_hand_out_changes_nothing() -> None:
    """Where the last window has just ended: not even the pre-roll of the next segment."""
    pcm = stream(*[SILENCE] * 4, SPEECH)
    segmenter = Segmenter(level, RULES)
    list(segmenter.accept(pcm[: 4 * WINDOW_SAMPLES]))
    for _ in range(3):
        assert list(segmenter.flush()) == []
    found = [*segmenter.accept(pcm[4 * WINDOW_SAMPLES :]), *segmenter.flush()]
    assert edges(found) == edges(events(pcm)) == [("SpeechStarted", 1), ("SpeechEnded", 5)]
    assert np.array_equal(fed(found), fed(events(pcm)))


def test_cut_in_silence() -> None:
    """A cut outside a segment does nothing."""
    assert list(Segmenter(level, RULES).cut()) == []


@given(
    st.lists(st.sampled_from((SPEECH, MAYBE, SILENCE)), max_size=40),
    st.lists(st.integers(0, 40 * WINDOW_SAMPLES), max_size=8),
)
def test_any_cut(levels: list[int], cuts: list[int]) -> None:
    """The same stream gives the same segments however it was cut."""
    pcm = stream(*levels)
    segmenter = Segmenter(level, RULES)
    found = [event for piece in np.split(pcm, sorted(cuts)) for event in segmenter.accept(piece)]
    found += segmenter.flush()
    whole = events(pcm)
    assert edges(found) == edges(whole)
    assert np.array_equal(fed(found), fed(whole))


@given(st.lists(st.sampled_from((SPEECH, MAYBE, SILENCE)), max_size=80))
def test_begins_and_ends_alternate(levels: list[int]) -> None:
    """Segments follow one another without overlap, and every one that begins ends."""
    found = edges(events(stream(*levels)))
    assert [name for name, _ in found] == ["SpeechStarted", "SpeechEnded"] * (len(found) // 2)
    assert [window for _, window in found] == sorted(window for _, window in found)
