"""Models that the tests hear with."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

Change = Callable[..., Path]
"""Makes a folder of `DIGITS` in which some words of the record are others: of pairs (old, new)."""

DIGITS = Path(__file__).parents[1] / "fixtures" / "digits"
"""Spoken digits at 8 kHz; its card says how it was made."""

TONES = Path(__file__).parents[1] / "fixtures" / "tones"
"""A low and a high tone at 16 kHz, by a transducer: ``tools/make_tone_model.py``."""

PUNCTUATION = Path(__file__).parents[1] / "fixtures" / "punctuation"
"""Two models that set marks: ``tools/make_punctuation_models.py``."""


def field(number: int, content: bytes) -> bytes:
    """A field of Protocol Buffers, with a length."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def piece(text: str, score: float, kind: int = 1) -> bytes:
    """A piece as a sentencepiece model has it: text, score and type."""
    body = field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind])
    return field(1, body)
