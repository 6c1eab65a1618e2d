"""Train the small recogniser of spoken digits that the tests hear with.

``python -m tools.train_digits RECORDINGS FOLDER [--steps N]``. ``RECORDINGS`` is the folder of WAV
files of the Free Spoken Digit Dataset (8 kHz, ``DIGIT_SPEAKER_INDEX.wav``), ``FOLDER`` gets
``model.onnx`` and ``tokens.txt``. Needs ``torch`` and ``onnx``, which nothing else here does.
Recordings 0 to 4 of each digit and speaker are left out: they are the test set.

Digits are joined to strings with pauses, at other speeds and levels, in noise and through µ-law.
The network is a causal convolution over log mel energies, one answer per 30 ms. A word is two
tokens: a bare space at its start, and itself at its end. Connectionist temporal classification may
place them only around the true start and end, `DELAY` frames later, so that their times are those
of the word.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from numpy.typing import NDArray

from tools.digits_graph import (
    BLOCKS,
    CHANNELS,
    FFT,
    HOP,
    MELS,
    OUT_SAMPLES,
    RATE_HZ,
    TAPS,
    export,
    mel_matrix,
    spectrum_kernel,
)

Audio = NDArray[np.float32]

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TOKENS = ("<blk>", "▁", *(f"▁{word}" for word in WORDS))
START, ZERO = 1, 2
TEST_INDICES = range(5)
DELAY = 6
"""Frames of 30 ms by which the network answers late: what it hears of the future."""

BATCH = 32
CHUNKS = 14
SAMPLES = CHUNKS * 2400
NOISE_S = 60


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording, cut to where it sounds."""

    digit: int
    samples: Audio


@dataclass(frozen=True, slots=True)
class Example:
    """A string of digits, `SAMPLES` long, with where each token may be said."""

    samples: Audio
    tokens: list[int]
    allowed: NDArray[np.bool_]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    clips = read_clips(asked.recordings)
    weights = train(clips, asked.steps, np.random.default_rng(1))
    asked.folder.mkdir(parents=True, exist_ok=True)
    export({name: value.detach().numpy() for name, value in weights.items()}, asked.folder)
    lines = (f"{token} {index}\n" for index, token in enumerate(TOKENS))
    (asked.folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")


def read_clips(folder: Path) -> list[Clip]:
    """The training recordings."""
    import soundfile

    clips = []
    for path in sorted(folder.glob("*.wav")):
        digit, _, index = path.stem.split("_")
        if int(index) not in TEST_INDICES:
            samples, rate_hz = soundfile.read(path, dtype="float32")
            assert rate_hz == RATE_HZ
            clips.append(Clip(int(digit), sounding(samples)))
    return clips


def sounding(samples: Audio) -> Audio:
    """From the first to the last 10 ms that are within 30 dB of the loudest ones."""
    frame = RATE_HZ // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = (frames**2).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() / 1000)
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def train(
    clips: Sequence[Clip], steps: int, random: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The trained weights by name."""
    weights = initial_weights()
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    began, mean = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        loss = step_loss(weights, [make_example(clips, random) for _ in range(BATCH)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 2.0)
        optimizer.step()
        schedule.step()
        mean += (loss.item() - mean) * max(0.02, 1 / step)
        if step % 100 == 0:
            print(f"step {step}  loss {mean:.4f}  {time.monotonic() - began:.0f} s", flush=True)
    return weights


def initial_weights() -> dict[str, torch.Tensor]:
    """Random weights, as `tools.digits_graph` names them."""
    shapes = {"in": (2 * MELS, CHANNELS), "out": (CHANNELS, len(TOKENS))}
    shapes |= {f"block{index}": (TAPS * CHANNELS, CHANNELS) for index in range(len(BLOCKS))}
    weights = {}
    for name, shape in shapes.items():
        weights[f"{name}.weight"] = torch.randn(shape) * math.sqrt(1 / shape[0])
        weights[f"{name}.bias"] = torch.zeros(shape[1])
    for index in range(len(BLOCKS)):
        weights[f"block{index}.scale"] = torch.ones(CHANNELS)
        weights[f"block{index}.shift"] = torch.zeros(CHANNELS)
    return {name: value.requires_grad_() for name, value in weights.items()}


def forward(weights: dict[str, torch.Tensor], samples: torch.Tensor) -> torch.Tensor:
    """Log probabilities, shape (batch, frames of 30 ms, tokens), of samples (batch, n) in -1..1."""
    padded = F.pad(samples[:, None], (FFT - HOP, 0))
    parts = F.conv1d(padded, torch.from_numpy(spectrum_kernel()), stride=HOP)
    bins = FFT // 2 + 1
    power = parts[:, :bins] ** 2 + parts[:, bins:] ** 2
    mel = torch.log(power.transpose(1, 2) @ torch.from_numpy(mel_matrix()) + 1e-5) / 4 + 1
    x = mel.reshape(len(samples), -1, 2 * MELS) @ weights["in.weight"] + weights["in.bias"]
    for index, dilation in enumerate(BLOCKS):
        name = f"block{index}"
        normal = F.layer_norm(
            x, (CHANNELS,), weights[f"{name}.scale"], weights[f"{name}.shift"], 1e-5
        )
        past = F.pad(normal, (0, 0, (TAPS - 1) * dilation, 0))
        length = x.shape[1]
        taps = [past[:, tap * dilation : tap * dilation + length] for tap in range(TAPS)]
        change = torch.cat(taps, 2) @ weights[f"{name}.weight"] + weights[f"{name}.bias"]
        x = x + torch.relu(change)
    return torch.log_softmax(x @ weights["out.weight"] + weights["out.bias"], 2)


def step_loss(weights: dict[str, torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
    """CTC over the allowed places, and what lies outside of them."""
    samples = torch.from_numpy(np.stack([example.samples for example in examples]))
    allowed = torch.from_numpy(np.stack([example.allowed for example in examples]))
    logs = forward(weights, samples)
    frames = torch.full((len(examples),), logs.shape[1])
    lengths = torch.tensor([len(example.tokens) for example in examples])
    tokens = torch.tensor([token for example in examples for token in example.tokens])
    inside = logs.masked_fill(~allowed, -30.0).transpose(0, 1)
    ctc = F.ctc_loss(inside, tokens, frames, lengths, reduction="none", zero_infinity=True)
    outside = (logs.exp() * ~allowed).sum(2).clamp(max=0.999)
    return (ctc - torch.log1p(-outside).sum(1)).mean() / 10


def make_example(clips: Sequence[Clip], random: np.random.Generator) -> Example:
    """A random string of digits, spoiled at random."""
    audio = np.zeros(SAMPLES, np.float32)
    at = int(random.uniform(0, 0.5) * RATE_HZ)
    gain = 10 ** (random.uniform(-28, 0) / 20)
    pause_s = random.choice([0.02, 0.1, 0.3, 0.6])
    speaker_speed = random.uniform(0.85, 1.18)
    most = random.choice([0, 1, 2, 4, 8], p=[0.03, 0.25, 0.22, 0.25, 0.25])
    tokens: list[int] = []
    allowed = np.zeros((SAMPLES // OUT_SAMPLES, len(TOKENS)), np.bool_)
    allowed[:, 0] = True
    for _ in range(most):
        clip = clips[int(random.integers(len(clips)))]
        samples = at_speed(clip.samples, speaker_speed * random.uniform(0.95, 1.05))
        end = at + len(samples)
        if end > SAMPLES - (DELAY + 3) * OUT_SAMPLES:
            break
        level = gain * 10 ** (random.uniform(-3, 3) / 20) / max(float(np.abs(samples).max()), 1e-3)
        audio[at:end] += samples * level
        first, last = at // OUT_SAMPLES + DELAY, end // OUT_SAMPLES + DELAY
        allowed[first - 1 : first + 4, START] = True
        allowed[last - 3 : last + 2, ZERO + clip.digit] = True
        tokens += [START, ZERO + clip.digit]
        at = end + int(random.exponential(pause_s) * RATE_HZ)
    return Example(spoil(audio, gain, random), tokens, allowed)


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


if __name__ == "__main__":
    main()
