"""Models that the tests hear with."""

from pathlib import Path

DIGITS = Path(__file__).parents[1] / "fixtures" / "digits"
"""Spoken digits at 8 kHz; its card says how it was made."""

TONES = Path(__file__).parents[1] / "fixtures" / "tones"
"""A low and a high tone at 16 kHz, by a transducer: ``tools/make_tone_model.py``."""

PUNCTUATION = Path(__file__).parents[1] / "fixtures" / "punctuation"
"""Two models that set marks: ``tools/make_punctuation_models.py``."""
