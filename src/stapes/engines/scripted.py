"""An engine with no model: one word for every so many ms of speech. For tests, load and examples.

What it hears follows from how much audio it was given and from nothing else, so a lost or
doubled piece of a stream shows in the words.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stapes.engines.port import Capabilities, HearingParams, Pcm, Segment
from stapes.errors import EngineError
from stapes.protocol.words import Word

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

POISON = b"abort the process that hears this: "
"""Speech with these bytes in it (as 16-bit samples at 16 kHz) ends the process, as broken native
code does. Said twice in a row, since the audio is heard in pieces."""

_CAPABILITIES = Capabilities(
    name="scripted",
    model_type="ORACLE",
    model_domains=("GENERIC", "MEDICAL"),
    languages=("en-US",),
    sample_rate_hz=16000,
    streaming=True,
    partials=True,
    word_times=True,
    confidence=True,
    punctuation=False,
    bias_phrases=False,
    streams_per_process=1024,
    real_time_factor=0.01,
    holds_interpreter_lock=True,
)


def read_capabilities(model: Path) -> Capabilities:
    """What a model's folder says of it; an engine with these stands in for that model.

    Raises `EngineError`, as `read_model_folder` does.
    """
    # Its parser takes longer to load than all that this engine needs.
    from stapes.engines.model_folder import read_model_folder

    folder = read_model_folder(model)
    return replace(
        _CAPABILITIES,
        model_type=folder.model_type,
        model_domains=folder.domains,
        languages=folder.languages,
    )


class ScriptedEngine:
    """Opens recognisers that count: ``zero one two`` and so on, one word every ``word_ms``."""

    def __init__(self, word_ms: int = 320, able: Capabilities = _CAPABILITIES) -> None:
        self._word_ms = word_ms
        self._able = able

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do, or says that it can."""
        return self._able

    def open(self, params: HearingParams, learnt: bytes = b"") -> ScriptedRecogniser:
        """Open a recogniser for one stream; the parameters change nothing."""
        return ScriptedRecogniser(self._word_ms, int(learnt or b"0"))


class ScriptedRecogniser:
    """Says the next word of the count for every full ``word_ms`` of a segment."""

    def __init__(self, word_ms: int, first: int = 0) -> None:
        self._word_ms = word_ms
        self._word_samples = word_ms * _CAPABILITIES.sample_rate_hz // 1000
        self._samples = 0
        self._first = first
        self._shown = 0
        self._closed = False

    def accept(self, pcm: Pcm) -> Sequence[Segment]:
        """A partial for every new word. Raises `EngineError` after `close`; dies of `POISON`."""
        if self._closed:
            raise EngineError("the recogniser is closed")
        if POISON in pcm.tobytes():
            os.abort()
        self._samples += len(pcm)
        if self._count() == self._shown:
            return ()
        self._shown = self._count()
        return (Segment(self._words(newest=0.5), is_final=False),)

    def drain(self) -> Sequence[Segment]:
        """The final of the segment; the next segment goes on counting."""
        if self._samples == 0:
            return ()
        final = Segment(self._words(newest=0.9), is_final=True)
        self._first += self._count()
        self._samples = self._shown = 0
        return (final,)

    def learnt(self) -> bytes:
        """How far it has counted."""
        return str(self._first).encode()

    def close(self) -> None:
        """Refuse further audio."""
        self._closed = True

    def _count(self) -> int:
        return self._samples // self._word_samples

    def _words(self, newest: float) -> tuple[Word, ...]:
        count, ms = self._count(), self._word_ms
        return tuple(
            Word(
                WORDS[(self._first + index) % len(WORDS)],
                index * ms,
                (index + 1) * ms,
                newest if index == count - 1 else 0.9,
            )
            for index in range(count)
        )
