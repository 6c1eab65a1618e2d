"""Finals become subtitles of readable length."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import srt
from hypothesis import given
from hypothesis import strategies as st

from stapes.cli.subtitles import (
    LINE_CHARACTERS,
    LINES,
    LONGEST_MS,
    SHORTEST_MS,
    Cue,
    cues,
    to_srt,
    to_vtt,
)
from stapes.protocol.words import Word


@dataclass(frozen=True, slots=True)
class Final:
    """What subtitles are made of."""

    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def start_ms(self) -> int:
        return self.words[0].start_ms

    @property
    def end_ms(self) -> int:
        return self.words[-1].end_ms


@dataclass(frozen=True, slots=True)
class Wordless:
    """A final of an engine that gives no times of words."""

    text: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...] = ()


def _said(text: str, start_ms: int = 0, word_ms: int = 300) -> Final:
    words = (
        Word(word, start_ms + n * word_ms, start_ms + (n + 1) * word_ms, 1.0)
        for n, word in enumerate(text.split())
    )
    return Final(tuple(words))


def test_short_final_is_one_cue() -> None:
    """Its times are those of its words."""
    assert cues([_said("we will meet again", start_ms=500)]) == [
        Cue(500, 1700, "we will meet again")
    ]


def test_long_text_is_broken_into_lines_and_cues() -> None:
    """Two lines of 42 characters, and the rest in the next cue."""
    text = "the quick brown fox jumps over the lazy dog " * 3
    broken = cues([_said(text, word_ms=100)])
    assert [cue.text for cue in broken] == [
        "the quick brown fox jumps over the lazy\ndog the quick brown fox jumps over the",
        "lazy dog the quick brown fox jumps over\nthe lazy dog",
    ]


def test_slow_speech_is_broken_by_time() -> None:
    """No cue holds more than seven seconds of speech."""
    slow = cues([_said("one two three four five", word_ms=3000)])
    assert [cue.text for cue in slow] == ["one two", "three four", "five"]


def test_pause_begins_a_new_cue() -> None:
    """Sentences that one final joins are read as they were spoken."""
    both = Final((*_said("one two").words, *_said("three", start_ms=1000).words))
    assert [cue.text for cue in cues([both])] == ["one two", "three"]


def test_short_word_stays_readable() -> None:
    """For a second, unless the next cue comes sooner."""
    alone, last = _said("yes", word_ms=100), _said("no", start_ms=400, word_ms=100)
    assert cues([alone, last]) == [Cue(0, 400, "yes"), Cue(400, 1400, "no")]


def test_final_without_word_times_is_spread() -> None:
    """By the length of its words."""
    cut = cues([Wordless("aaaa bbbb " * 10, 1000, 21000)])
    assert cut[0].start_ms == 1000
    assert cut[-1].end_ms == 21000
    assert len(cut) == 3
    assert cues([Wordless("", 5, 5)]) == []


def test_srt_and_vtt_are_well_formed() -> None:
    """SubRip is what the library for it reads; WebVTT has its header and escapes."""
    finals = [_said("salt & pepper"), _said("later", start_ms=3_723_004)]
    subtitles = list(srt.parse(to_srt(finals)))
    assert [subtitle.content for subtitle in subtitles] == ["salt & pepper", "later"]
    assert subtitles[1].start.total_seconds() == 3723.004
    assert to_vtt(finals) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:01.000\nsalt &amp; pepper\n\n"
        "01:02:03.004 --> 01:02:04.004\nlater\n"
    )
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"


_WORD = st.tuples(
    st.text("abcdefg'", min_size=1, max_size=50), st.integers(0, 900), st.integers(0, 9000)
)


@given(st.lists(_WORD, min_size=1, max_size=60))
def test_cues_keep_their_limits_and_every_word(spoken: list[tuple[str, int, int]]) -> None:
    """Whatever the words: none is lost, cues do not overlap, and only a lone word exceeds."""
    at, words = 0, []
    for text, gap_ms, lasts_ms in spoken:
        words.append(Word(text, at + gap_ms, at + gap_ms + lasts_ms, 1.0))
        at += gap_ms + lasts_ms
    made = cues([Final(tuple(words))])
    assert " ".join(cue.text for cue in made).split() == [word.text for word in words]
    for cue in made:
        if len(cue.text.split()) > 1:
            lines = cue.text.split("\n")
            assert len(lines) <= LINES
            assert all(len(line) <= max(LINE_CHARACTERS, len(line.split()[0])) for line in lines)
            assert cue.end_ms - cue.start_ms <= max(LONGEST_MS, SHORTEST_MS)
    assert all(one.end_ms <= other.start_ms for one, other in pairwise(made))
