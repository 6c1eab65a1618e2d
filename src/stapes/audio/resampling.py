"""Change of sample rate along a stream."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from stapes.audio.encodings import Pcm


class Resampler:
    """Resamples one stream; the samples that come out do not depend on how it was cut.

    Works in 32-bit floating point, because the resampler's own 16-bit output is dithered.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def resample(self, pcm: Pcm) -> Pcm:
        """What can be told by now of the stream so far, shape ``(n,)``; a few ms stay inside."""
        if self._stream is None:
            return pcm
        return _rounded(self._stream.resample_chunk(pcm.astype(np.float32)))

    def flush(self) -> Pcm:
        """The rest of the stream so far; what comes after it begins a new one."""
        if self._stream is None:
            return np.empty(0, np.int16)
        rest = _rounded(self._stream.resample_chunk(np.empty(0, np.float32), last=True))
        self._stream.clear()
        return rest


def _rounded(samples: NDArray[np.float32]) -> Pcm:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
