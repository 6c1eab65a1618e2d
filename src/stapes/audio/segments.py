"""Where speech begins and ends in a stream, by rules over a speech probability.

One probability stands for a window of 512 samples at 16 kHz (32 ms), which is what the Silero
voice activity detector takes. Nothing here depends on how the stream was cut into pieces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stapes.audio.encodings import Pcm

RATE_HZ = 16000
WINDOW_SAMPLES = 512
SAMPLES_PER_MS = RATE_HZ // 1000


class VoiceActivity(Protocol):
    """The probability of speech in the next window of one stream.

    One that remembers the windows before is `Remembering`.
    """

    def __call__(self, window: NDArray[np.float32], /) -> float:
        """Probability 0..1 for samples of shape ``(512,)``, -1..1, that follow the last ones."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """Voice activity whose next answer depends on ``memory`` and the next window alone."""

    memory: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Look:
    """What a stream asks of its voice activity at a time: the probability of speech in a window."""

    voice_activity: VoiceActivity
    window: NDArray[np.float32]

    def take(self) -> float:
        """Ask the voice activity alone."""
        return self.voice_activity(self.window)


@dataclass(frozen=True, slots=True)
class SegmentRules:
    """When speech counts as begun and as ended.

    Attributes:
        start_probability: at or above it, speech has begun.
        keep_probability: at or above it, speech that has begun goes on.
        pre_roll_ms: audio before the begin that belongs to the segment.
        hangover_ms: non-speech after which the segment has ended; it belongs to the segment.
        long_ms: from this length on, the shorter ``long_hangover_ms`` is enough: what a recogniser
            has to do at the end of a segment grows with its length.
        longest_ms: a segment is cut when it lasts this long.
    """

    start_probability: float = 0.5
    keep_probability: float = 0.35
    pre_roll_ms: int = 500
    hangover_ms: int = 300
    long_ms: int = 15_000
    long_hangover_ms: int = 250
    longest_ms: int = 30_000

    def ended(self, silence_ms: int, length_ms: int) -> bool:
        """Whether a segment of this length, with this much non-speech at its end, has ended."""
        is_long = length_ms >= self.long_ms and silence_ms >= self.long_hangover_ms
        return silence_ms >= self.hangover_ms or is_long or length_ms >= self.longest_ms


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A segment begins at this sample, pre-roll included."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class SpeechContinued:
    """More audio of the segment; speech was last heard before ``last_speech_sample``."""

    pcm: Pcm
    through_sample: int
    last_speech_sample: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The segment ends at this sample, hangover included."""

    at_sample: int
    last_speech_sample: int


@dataclass(frozen=True, slots=True)
class SilenceContinued:
    """Audio outside any segment, up to this sample."""

    through_sample: int


SegmentEvent = SpeechStarted | SpeechContinued | SpeechEnded | SilenceContinued


@dataclass(frozen=True, slots=True)
class BetweenSegments:
    """All that a segmenter knows while no segment is open.

    Attributes:
        through_sample: what has been judged.
        waiting: samples that came after that.
        pre_roll: the last pieces that were judged and belong to no segment.
        memory: of the voice activity.
    """

    through_sample: int
    waiting: Pcm
    pre_roll: tuple[Pcm, ...]
    memory: NDArray[np.float32]


class Segmenter:
    """Cuts one stream into speech segments, window by window."""

    def __init__(self, voice_activity: VoiceActivity, rules: SegmentRules | None = None) -> None:
        self._voice_activity = voice_activity
        self._rules = rules or SegmentRules()
        self._pre_roll: deque[Pcm] = deque(
            maxlen=max(1, self._rules.pre_roll_ms * SAMPLES_PER_MS // WINDOW_SAMPLES)
        )
        self._waiting = np.empty(0, np.int16)
        self._through = 0
        self._start: int | None = None
        self._last_speech = 0

    @property
    def speaking(self) -> bool:
        """Whether a segment is open."""
        return self._start is not None

    def accept(self, pcm: Pcm) -> Iterator[SegmentEvent]:
        """Judge every window that ``pcm`` completes; exhaust the iterator before the next call."""
        for window in self.windows(pcm):
            yield from self.judge(window, self.look(window).take())

    def windows(self, pcm: Pcm) -> Iterator[Pcm]:
        """Every window that ``pcm`` completes; judge each before the next is taken."""
        self._waiting = np.concatenate((self._waiting, pcm))
        while len(self._waiting) >= WINDOW_SAMPLES:
            window = self._waiting[:WINDOW_SAMPLES]
            self._waiting = self._waiting[WINDOW_SAMPLES:]
            yield window

    def look(self, window: Pcm) -> Look:
        """What is to be asked of the voice activity for this window."""
        return Look(self._voice_activity, window.astype(np.float32) / np.float32(32768))

    def flush(self) -> Iterator[SegmentEvent]:
        """End the stream so far: hand out the unfinished window and end the open segment."""
        rest, self._waiting = self._waiting, np.empty(0, np.int16)
        self._through += len(rest)
        if self._start is None:
            if len(rest):  # else nothing happened: the pre-roll is not to lose a piece by it
                self._pre_roll.append(rest)
            return
        if len(rest):
            yield SpeechContinued(rest, self._through, self._last_speech)
        yield from self.cut()

    def cut(self) -> Iterator[SegmentEvent]:
        """End the open segment where the stream stands, if there is one."""
        if self._start is not None:
            self._start = None
            yield SpeechEnded(self._through, self._last_speech)

    def save(self) -> BetweenSegments:
        """What another one needs to go on from here; while no segment is open."""
        assert self._start is None
        memory = np.empty(0, np.float32)
        if isinstance(self._voice_activity, Remembering):
            memory = self._voice_activity.memory
        return BetweenSegments(self._through, self._waiting, tuple(self._pre_roll), memory)

    def restore(self, saved: BetweenSegments) -> None:
        """Go on from where another one was saved."""
        self._through, self._waiting = saved.through_sample, saved.waiting
        self._pre_roll.extend(saved.pre_roll)
        if isinstance(self._voice_activity, Remembering):
            self._voice_activity.memory = saved.memory

    def judge(self, window: Pcm, probability: float) -> Iterator[SegmentEvent]:
        """Apply the rules to the next window, in which there is speech with this probability."""
        self._through += WINDOW_SAMPLES
        if self._start is not None:
            yield from self._go_on(window, probability)
        elif probability >= self._rules.start_probability:
            yield from self._begin(window)
        else:
            self._pre_roll.append(window)
            yield SilenceContinued(self._through)

    def _begin(self, window: Pcm) -> Iterator[SegmentEvent]:
        pcm = np.concatenate((*self._pre_roll, window))
        self._pre_roll.clear()
        self._start = self._through - len(pcm)
        self._last_speech = self._through
        yield SpeechStarted(self._start)
        yield SpeechContinued(pcm, self._through, self._last_speech)

    def _go_on(self, window: Pcm, probability: float) -> Iterator[SegmentEvent]:
        if probability >= self._rules.keep_probability:
            self._last_speech = self._through
        yield SpeechContinued(window, self._through, self._last_speech)
        silence_ms = (self._through - self._last_speech) // SAMPLES_PER_MS
        length_ms = (self._through - (self._start or 0)) // SAMPLES_PER_MS
        if self._rules.ended(silence_ms, length_ms):
            yield from self.cut()
