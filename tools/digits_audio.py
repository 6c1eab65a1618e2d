"""Strings of spoken digits to train on, put together of recordings and spoiled at random.

Recordings of the Free Spoken Digit Dataset are joined with pauses, cut to where they sound or with
the silence around them, at other speeds and levels, in noise, filtered, clipped and through µ-law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.digits_graph import OUT_SAMPLES, RATE_HZ

Audio = NDArray[np.float32]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOKENS = ("<blk>", "▁", *(f"▁{word}" for word in WORDS))
START, ZERO = 1, 2
DELAY = 6
"""Frames of 30 ms by which the network answers late: what it hears of the future."""

CHUNKS = 14
SAMPLES = CHUNKS * 2400
NOISE_S = 60
QUIETEST_DB = -38
"""Peak of the quietest speech: some speakers were recorded at two hundredths of full scale."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, and the samples between which it sounds."""

    digit: int
    samples: Audio
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Example:
    """A string of digits, `SAMPLES` long, with where each token may be said, and should be."""

    samples: Audio
    tokens: list[int]
    allowed: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def read_clips(folder: Path, left_out: int) -> list[Clip]:
    """The recordings from number ``left_out`` on, of each digit and speaker."""
    import soundfile

    clips = []
    for path in sorted(folder.glob("*.wav")):
        digit, _, index = path.stem.split("_")
        if int(index) >= left_out:
            samples, rate_hz = soundfile.read(path, dtype="float32")
            assert rate_hz == RATE_HZ
            clips.append(Clip(int(digit), samples, *sounding(samples)))
    return clips


def sounding(samples: Audio) -> tuple[int, int]:
    """From the first to the last 10 ms that are within 30 dB of the loudest ones."""
    frame = RATE_HZ // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = (frames**2).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() / 1000)
    return int(loud[0]) * frame, int(loud[-1] + 1) * frame


def make_example(clips: Sequence[Clip], random: np.random.Generator) -> Example:
    """A random string of digits, spoiled at random."""
    audio = np.zeros(SAMPLES, np.float32)
    at = int(random.uniform(0, 0.6) * RATE_HZ)
    gain = 10 ** (random.uniform(QUIETEST_DB, 0) / 20)
    pause_s = random.choice([0.02, 0.1, 0.3, 0.6])
    speaker_speed = random.uniform(0.85, 1.18)
    is_cut = random.random() < 0.5
    most = random.choice([0, 1, 2, 4, 8], p=[0.03, 0.30, 0.22, 0.22, 0.23])
    tokens: list[int] = []
    allowed = np.zeros((SAMPLES // OUT_SAMPLES, len(TOKENS)), np.bool_)
    allowed[:, 0] = True
    wanted = np.zeros(SAMPLES // OUT_SAMPLES, np.int64)
    for _ in range(most):
        clip = clips[int(random.integers(len(clips)))]
        speed = speaker_speed * random.uniform(0.95, 1.05)
        before = 0 if is_cut else min(int(clip.first / speed), at)
        samples = at_speed(clip.samples[clip.first - int(before * speed) :], speed)
        end = at + int((clip.last - clip.first) / speed)
        if end > SAMPLES - (DELAY + 4) * OUT_SAMPLES:
            break
        samples = samples[: (end if is_cut else SAMPLES) - at + before]
        level = gain * 10 ** (random.uniform(-3, 3) / 20) / max(float(np.abs(samples).max()), 1e-3)
        audio[at - before : at - before + len(samples)] += samples * level
        first, last = at // OUT_SAMPLES + DELAY, end // OUT_SAMPLES + DELAY
        allowed[first - 1 : first + 4, START] = True
        allowed[last - 3 : last + 3, ZERO + clip.digit] = True
        wanted[first + 1 : first + 3] = START
        wanted[last - 1 : last + 2] = ZERO + clip.digit
        for edge in (first - 1, first, first + 3, last - 3, last - 2, last + 2):
            wanted[edge] = -1
        tokens += [START, ZERO + clip.digit]
        at = end + int(random.exponential(pause_s) * RATE_HZ)
    return Example(spoil(audio, gain, random), tokens, allowed, wanted)


def at_speed(samples: Audio, speed: float) -> Audio:
    """Played faster, pitch and all."""
    times = np.arange(0, len(samples) - 1, speed)
    return np.asarray(np.interp(times, np.arange(len(samples)), samples), np.float32)


def spoil(audio: Audio, gain: float, random: np.random.Generator) -> Audio:
    """Noise of some colour, a filter, an end in silence, clipping and µ-law, each sometimes."""
    if random.random() < 0.8:
        noises = colours()[int(random.integers(2))]
        start = int(random.integers(len(noises) - SAMPLES))
        level = np.float32(gain * 10 ** (random.uniform(-60, -22) / 20))
        audio = audio + noises[start : start + SAMPLES] * level
    if random.random() < 0.4:
        audio = audio - np.float32(random.uniform(-0.7, 0.5)) * np.roll(audio, 1)
    if random.random() < 0.3:
        audio[-int(random.uniform(0, 0.8) * RATE_HZ) - 1 :] = 0
    audio = np.clip(audio, -1, 1)
    return through_mu_law(audio) if random.random() < 0.7 else audio


@cache
def colours() -> tuple[Audio, Audio]:
    """White noise, and noise of the lower band."""
    white = np.random.default_rng(2).standard_normal(NOISE_S * RATE_HZ, np.float32)
    return white, np.asarray(np.convolve(white, np.ones(8) / 3, "same"), np.float32)


def through_mu_law(audio: Audio) -> Audio:
    """To 8 bits by the continuous µ-law curve, and back."""
    return mu_law_table()[(audio * 32767).astype(np.int32) + 32768]


@cache
def mu_law_table() -> Audio:
    """What each 16-bit sample comes back as."""
    samples = np.arange(-32768, 32769) / 32768
    coded = np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256)
    coarse = np.round(coded * 127) / 127
    back = np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256)) / 255
    return np.asarray(back, np.float32)
