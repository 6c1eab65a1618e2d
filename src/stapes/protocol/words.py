"""Words as every part of Stapes passes them on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    Attributes:
        text: the word as the engine writes it.
        start_ms: its start, ms on the timeline that the holder of the word names.
        end_ms: its end, ms on the same timeline; never before ``start_ms``.
        confidence: 0..1.
    """

    text: str
    start_ms: int
    end_ms: int
    confidence: float
