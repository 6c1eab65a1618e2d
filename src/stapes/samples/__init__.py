"""Bundled speech: WAV files, 16 kHz, mono, 16 bit, each with the words that are spoken in it.

``samples.json`` says how each was synthesised; ``tools/make_samples.py`` makes them again from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stapes.errors import AudioError

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """One bundled file. ``text`` is what is spoken, with punctuation; pauses are in its WAV."""

    name: str
    path: Path
    voice: str
    sentences: tuple[str, ...]
    lead_ms: int
    pause_ms: int
    tail_ms: int

    @property
    def text(self) -> str:
        """The sentences, joined by spaces."""
        return " ".join(self.sentences)


def load_all() -> dict[str, Sample]:
    """Every bundled sample, by name."""
    rows = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))["samples"]
    return {row["name"]: _sample(row) for row in rows}


def load(name: str) -> Sample:
    """The sample of that name. Raises `AudioError`, naming those there are."""
    samples = load_all()
    if name not in samples:
        raise AudioError(f"no bundled sample {name!r}; there are: {', '.join(sorted(samples))}")
    return samples[name]


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        **{**row, "sentences": tuple(row["sentences"])}, path=FOLDER / f"{row['name']}.wav"
    )
