"""Finals as subtitles: cues of readable length, in SubRip and WebVTT.

At most two lines of 42 characters and seven seconds a cue, which is what broadcasters' guidelines
agree on; a pause begins a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from textwrap import wrap
from typing import Protocol

import srt

from stapes.protocol.words import Word

LINE_CHARACTERS = 42
LINES = 2
LONGEST_MS = 7_000
SHORTEST_MS = 1_000
PAUSE_MS = 400


class Spoken(Protocol):
    """A final, whether it has just been heard or comes from the store. Times in ms."""

    @property
    def text(self) -> str:
        """What was said."""
        ...

    @property
    def start_ms(self) -> int:
        """Start of its first word."""
        ...

    @property
    def end_ms(self) -> int:
        """End of its last word."""
        ...

    @property
    def words(self) -> tuple[Word, ...]:
        """Its words; may be empty when the engine gives no times."""
        ...


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; ``text`` has its line break in it. Times in ms."""

    start_ms: int
    end_ms: int
    text: str


def cues(finals: Iterable[Spoken]) -> list[Cue]:
    """Cut finals into cues. A final never shares a cue with another one."""
    cut = [cue for final in finals for cue in _cues_of(final)]
    following = [cue.start_ms for cue in cut[1:]]
    return [_readable(cue, then) for cue, then in zip(cut, [*following, None], strict=False)]


def to_srt(finals: Iterable[Spoken]) -> str:
    """The SubRip document of some finals."""
    document: str = srt.compose(
        srt.Subtitle(
            index=index,
            start=timedelta(milliseconds=cue.start_ms),
            end=timedelta(milliseconds=cue.end_ms),
            content=cue.text,
        )
        for index, cue in enumerate(cues(finals), 1)
    )
    return document


def to_vtt(finals: Iterable[Spoken]) -> str:
    """The WebVTT document of some finals (W3C WebVTT section 4)."""
    blocks = [
        f"{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}\n{escape(cue.text, quote=False)}\n"
        for cue in cues(finals)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _cues_of(final: Spoken) -> Iterator[Cue]:
    held: list[Word] = []
    for word in final.words or _spread(final):
        if held and not _fits([*held, word]):
            yield _cue(held)
            held = []
        held.append(word)
    if held:
        yield _cue(held)


def _fits(words: Sequence[Word]) -> bool:
    return (
        len(_lines(words)) <= LINES
        and words[-1].end_ms - words[0].start_ms <= LONGEST_MS
        and words[-1].start_ms - words[-2].end_ms < PAUSE_MS
    )


def _cue(words: Sequence[Word]) -> Cue:
    return Cue(words[0].start_ms, words[-1].end_ms, "\n".join(_lines(words)))


def _lines(words: Sequence[Word]) -> list[str]:
    text = " ".join(word.text for word in words)
    return wrap(text, LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _spread(final: Spoken) -> list[Word]:
    """The words of a final without word times, each with its share of the time by length."""
    texts = final.text.split()
    total = sum(map(len, texts)) or 1
    lasts_ms, at, words = final.end_ms - final.start_ms, 0, []
    for text in texts:
        start_ms = final.start_ms + lasts_ms * at // total
        at += len(text)
        words.append(Word(text, start_ms, final.start_ms + lasts_ms * at // total, 0.0))
    return words


def _readable(cue: Cue, then_ms: int | None) -> Cue:
    """A short cue stays as long as it takes to read it, unless the next one comes sooner."""
    until_ms = cue.start_ms + SHORTEST_MS
    if then_ms is not None:
        until_ms = min(until_ms, then_ms)
    return Cue(cue.start_ms, max(cue.end_ms, until_ms), cue.text)


def _clock(ms: int) -> str:
    seconds, thousandths = divmod(ms, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}.{thousandths:03d}"
