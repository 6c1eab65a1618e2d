"""Train the small recogniser of spoken digits that the tests hear with.

``python -m tools.train_digits RECORDINGS FOLDER [--left-out N]``. ``RECORDINGS`` is the
folder of WAV files of the Free Spoken Digit Dataset (8 kHz, ``DIGIT_SPEAKER_INDEX.wav``),
``FOLDER`` gets ``model.onnx`` and ``tokens.txt``. Needs ``torch`` and ``onnx``, which nothing else
here does. Recordings 0 to 4 of each digit and speaker are left out: they are the test set. With
``--left-out 10`` so are 5 to 9, to choose a recipe by.

The network is a causal convolution over log mel energies, one answer per 30 ms. A word is two
tokens: a bare space at its start, and itself at its end. Connectionist temporal classification may
place them only around the true start and end, `DELAY` frames later, so that their times are those
of the word; and each is wanted for several frames, so that a doubt about when a word ended is none
about whether it was said. What is exported is a running mean of the weights.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from tools.digits_audio import TOKENS, ZERO, Clip, Example, make_example, read_clips
from tools.digits_graph import (
    BLOCKS,
    CHANNELS,
    FFT,
    HOP,
    MELS,
    TAPS,
    export,
    mel_matrix,
)

Weights = dict[str, torch.Tensor]

BATCH = 32
STAGES = ((10, 3000, 3e-3), (5, 1200, 1.5e-3))
"""Recordings from which number on, steps and highest rate. The second goes on from the first."""

MEMORY = 0.998
"""What a step leaves of the running mean of the weights."""

DROPPED = 0.1
MASKED_BANDS = 8
SMOOTHING = 0.05
WANTED_WEIGHT = 20.0
LIKELIER = 0.5
"""Added to the digits' logits, so that as many words are missed as are heard twice."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--left-out", type=int, default=5, help="this many of each kind")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    weights: Weights = {}
    for left_out, steps, rate in STAGES:
        torch.manual_seed(1)
        clips = read_clips(asked.recordings, max(asked.left_out, left_out))
        weights = train(weights or initial_weights(), clips, steps, rate, np.random.default_rng(1))
    asked.folder.mkdir(parents=True, exist_ok=True)
    weights["out.bias"][ZERO:] += LIKELIER
    export({name: value.numpy() for name, value in weights.items()}, asked.folder)
    lines = (f"{token} {index}\n" for index, token in enumerate(TOKENS))
    (asked.folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")


def train(
    begun: Weights, clips: Sequence[Clip], steps: int, rate: float, random: np.random.Generator
) -> Weights:
    """Train on from weights; return the running mean of what they were."""
    weights = {name: value.clone().requires_grad_() for name, value in begun.items()}
    mean = {name: value.clone() for name, value in begun.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    began, shown = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        loss = step_loss(weights, [make_example(clips, random) for _ in range(BATCH)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 2.0)
        optimizer.step()
        schedule.step()
        for name, value in weights.items():
            mean[name].lerp_(value.detach(), max(1 - MEMORY, 1 / step))
        shown += (loss.item() - shown) * max(0.02, 1 / step)
        if step % 100 == 0:
            print(f"step {step}  loss {shown:.4f}  {time.monotonic() - began:.0f} s", flush=True)
    return mean


def initial_weights() -> Weights:
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
    return weights


def forward(weights: Mapping[str, torch.Tensor], samples: torch.Tensor) -> torch.Tensor:
    """Log probabilities, shape (batch, frames of 30 ms, tokens), of samples (batch, n) in -1..1.

    With bands of the spectrum and parts of the layers left out, as only training does.
    """
    mel = without_bands(log_mels(samples))
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
        x = x + F.dropout(torch.relu(change), DROPPED)
    return torch.log_softmax(x @ weights["out.weight"] + weights["out.bias"], 2)


def log_mels(samples: torch.Tensor) -> torch.Tensor:
    """Log energies, shape (batch, frames of 15 ms, bands)."""
    padded = F.pad(samples, (FFT - HOP, 0))
    window = torch.from_numpy(np.hanning(FFT).astype(np.float32))
    spectrum = torch.fft.rfft(padded.unfold(1, FFT, HOP) * window)
    power = spectrum.real**2 + spectrum.imag**2
    return torch.log(power @ torch.from_numpy(mel_matrix()) + 1e-5) / 4 + 1


def without_bands(mel: torch.Tensor) -> torch.Tensor:
    """Some neighbouring bands of each example at nought, up to `MASKED_BANDS`."""
    bands = torch.arange(MELS)
    first = torch.randint(0, MELS, (len(mel), 1, 1))
    width = torch.randint(0, MASKED_BANDS + 1, (len(mel), 1, 1))
    return mel.masked_fill((bands >= first) & (bands < first + width), 0.0)


def step_loss(weights: Mapping[str, torch.Tensor], examples: Sequence[Example]) -> torch.Tensor:
    """CTC over the allowed places, what lies outside of them, and what is wanted of each frame."""
    samples = torch.from_numpy(np.stack([example.samples for example in examples]))
    allowed = torch.from_numpy(np.stack([example.allowed for example in examples]))
    wanted = torch.from_numpy(np.stack([example.wanted for example in examples]))
    logs = forward(weights, samples)
    frames = torch.full((len(examples),), logs.shape[1])
    lengths = torch.tensor([len(example.tokens) for example in examples])
    tokens = torch.tensor([token for example in examples for token in example.tokens])
    inside = logs.masked_fill(~allowed, -30.0).transpose(0, 1)
    ctc = F.ctc_loss(inside, tokens, frames, lengths, reduction="none", zero_infinity=True)
    outside = (logs.exp() * ~allowed).sum(2).clamp(max=0.999)
    each = F.cross_entropy(logs.transpose(1, 2), wanted, ignore_index=-1, label_smoothing=SMOOTHING)
    return (ctc - torch.log1p(-outside).sum(1)).mean() / 10 + WANTED_WEIGHT * each / 10


if __name__ == "__main__":
    main()
