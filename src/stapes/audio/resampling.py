"""Change of sample rate along a stream."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from stapes.audio.encodings import Pcm

REACH = 48
"""Samples before and after an instant that decide what lies there: 6 ms each at 8 kHz."""

UNIT = 1 << 20
"""What the weights of a filter add up to: whole numbers, so that sums of products are exact."""


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


class Doubler:
    """Resamples one stream to twice its rate, or passes it on as it is.

    Between each two samples comes one, weighed out of its neighbours by a windowed sinc. All sums
    are of whole numbers below 2**53, hence exact: what comes out depends on the samples alone, and
    ``inside`` is all there is to know of the past.
    """

    def __init__(self, *, doubles: bool) -> None:
        self._doubles = doubles
        self.inside: Pcm = _silence(REACH - 1) if doubles else _silence(0)

    def resample(self, pcm: Pcm) -> Pcm:
        """What can be told by now of the stream so far, shape ``(n,)``; 6 ms stay inside."""
        if not self._doubles:
            return pcm
        samples = np.concatenate((self.inside, pcm))
        count = max(0, len(samples) - 2 * REACH + 1)
        self.inside = samples[count:]
        if count == 0:
            return _silence(0)
        doubled = np.empty((count, 2), np.int16)
        doubled[:, 0] = samples[REACH - 1 : REACH - 1 + count]
        doubled[:, 1] = _rounded(np.convolve(samples.astype(np.float64), _BETWEEN, "valid") / UNIT)
        return doubled.reshape(-1)

    def flush(self) -> Pcm:
        """The rest of the stream so far; what comes after it begins a new one."""
        if not self._doubles:
            return _silence(0)
        rest = self.resample(_silence(REACH))
        self.inside = _silence(REACH - 1)
        return rest


def _silence(samples: int) -> Pcm:
    return np.zeros(samples, np.int16)


def _rounded(samples: NDArray[np.float32] | NDArray[np.float64]) -> Pcm:
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def _between() -> NDArray[np.float64]:
    """Weights, whole numbers, of the neighbours of the instant in the middle."""
    distance = np.arange(-REACH, REACH) + 0.5
    weights = np.sinc(distance) * np.kaiser(2 * REACH, 10.0)
    rounded: NDArray[np.float64] = np.rint(weights * UNIT / weights.sum())
    return rounded


_BETWEEN = _between()
