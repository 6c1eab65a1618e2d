"""Speech for the engines."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from stapes import samples
from stapes.engines.pocketsphinx import PocketSphinxEngine
from stapes.engines.port import Pcm


@pytest.fixture(scope="session")
def speech() -> Pcm:
    """The short sample: 16 kHz, mono."""
    pcm, _ = soundfile.read(samples.load("short").path, dtype="int16")
    return np.asarray(pcm, np.int16)


@pytest.fixture(scope="session")
def pocketsphinx() -> PocketSphinxEngine:
    """The model, loaded once."""
    return PocketSphinxEngine()
