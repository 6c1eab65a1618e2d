"""Change of sample rate along a stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stapes.audio.encodings import Pcm
from stapes.audio.resampling import Doubler, Resampler

NOISE = np.random.default_rng(1).integers(-20000, 20000, 4000).astype(np.int16)


def tone(rate_hz: int, seconds: float = 0.5) -> Pcm:
    times = np.arange(int(rate_hz * seconds)) / rate_hz
    return (10000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def test_identity() -> None:
    """At equal rates the samples pass unchanged and nothing stays inside."""
    resampler = Resampler(16000, 16000)
    assert np.array_equal(resampler.resample(NOISE), NOISE)
    assert len(resampler.flush()) == 0


def test_tone() -> None:
    """A tone is the same tone at the other rate."""
    resampler = Resampler(8000, 16000)
    out = np.concatenate((resampler.resample(tone(8000)), resampler.flush()))
    expected = tone(16000)
    assert len(out) == len(expected)
    difference = out[500:-500].astype(int) - expected[500:-500]
    assert np.abs(difference).max() < 20


@given(st.lists(st.integers(0, len(NOISE)), max_size=8))
def test_any_cut(cuts: list[int]) -> None:
    """What comes out does not depend on how the stream was cut."""
    whole, cut = Resampler(8000, 16000), Resampler(8000, 16000)
    expected = np.concatenate((whole.resample(NOISE), whole.flush()))
    pieces = [cut.resample(piece) for piece in np.split(NOISE, sorted(cuts))]
    assert np.array_equal(np.concatenate((*pieces, cut.flush())), expected)


def test_goes_on_after_a_flush() -> None:
    """After a flush the next samples resample like those of a new stream."""
    resampler = Resampler(8000, 16000)
    first = np.concatenate((resampler.resample(NOISE), resampler.flush()))
    second = np.concatenate((resampler.resample(NOISE), resampler.flush()))
    assert len(first) == 2 * len(NOISE)
    assert np.array_equal(first, second)


def test_full_scale() -> None:
    """Overshoot at full scale is clipped, not wrapped."""
    square = np.repeat(np.array([32767, -32768] * 20, np.int16), 50)
    resampler = Resampler(8000, 16000)
    out = np.concatenate((resampler.resample(square), resampler.flush()))
    middle = out[2 * 25 :: 2 * 50].astype(int)
    assert (middle[::2] > 30000).all()
    assert (middle[1::2] < -30000).all()


def test_doubling_is_resampling() -> None:
    """A tone is the same tone at the other rate, and a sample that was there stays as it was."""
    doubler = Doubler(doubles=True)
    out = np.concatenate((doubler.resample(tone(8000)), doubler.flush()))
    assert len(out) == len(tone(16000))
    assert np.abs(out[500:-500].astype(int) - tone(16000)[500:-500]).max() <= 2
    assert np.array_equal(out[::2], tone(8000))


def test_doubling_keeps_what_is_above_the_band_out() -> None:
    """The mirror image of a tone of 3,400 Hz, at 4,600 Hz, is 80 dB below it."""
    times = np.arange(8000) / 8000
    pcm = (20000 * np.sin(2 * np.pi * 3400 * times)).astype(np.int16)
    out = Doubler(doubles=True).resample(pcm)[1000:15000]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    at = [spectrum[int(hz * len(out) / 16000) - 5 :][:10].max() for hz in (3400, 4600)]
    assert at[1] < at[0] / 10_000


def test_not_doubling() -> None:
    """At equal rates the samples pass unchanged and nothing stays inside."""
    doubler = Doubler(doubles=False)
    assert np.array_equal(doubler.resample(NOISE), NOISE)
    assert (len(doubler.inside), len(doubler.flush())) == (0, 0)


@given(st.lists(st.integers(0, len(NOISE)), max_size=8))
def test_doubling_goes_on_in_another_doubler(cuts: list[int]) -> None:
    """However the stream was cut, and whoever goes on with it, to the last bit."""
    whole, doubler = Doubler(doubles=True), Doubler(doubles=True)
    expected = np.concatenate((whole.resample(NOISE), whole.flush()))
    out = []
    for piece in np.split(NOISE, sorted(cuts)):
        doubler, before = Doubler(doubles=True), doubler
        doubler.inside = before.inside
        out.append(doubler.resample(piece))
    assert np.array_equal(np.concatenate((*out, doubler.flush())), expected)


def test_doubling_at_full_scale() -> None:
    """Overshoot is clipped, not wrapped."""
    square = np.repeat(np.array([32767, -32768] * 20, np.int16), 50)
    middle = Doubler(doubles=True).resample(square)[2 * 25 :: 2 * 50].astype(int)
    assert (middle[::2] > 30000).all()
    assert (middle[1::2] < -30000).all()
