"""Speech for the engines, and models to load."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stapes import samples
from stapes.engines.model_folder import RECORD
from stapes.engines.pocketsphinx import PocketSphinxEngine
from stapes.engines.port import Pcm
from tests.engines.models import DIGITS, Change


@pytest.fixture(scope="session")
def speech() -> Pcm:
    """The short sample: 16 kHz, mono."""
    pcm, _ = soundfile.read(samples.load("short").path, dtype="int16")
    return np.asarray(pcm, np.int16)


@pytest.fixture(scope="session")
def pocketsphinx() -> PocketSphinxEngine:
    """The model, loaded once."""
    return PocketSphinxEngine()


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """The folder of the model with other words in its record."""

    def change(*pairs: tuple[str, str]) -> Path:
        folder = Path(shutil.copytree(DIGITS, tmp_path / "model"))
        card = (folder / RECORD).read_text(encoding="utf-8")
        for old, new in pairs:
            assert old in card
            card = card.replace(old, new)
        (folder / RECORD).write_text(card, encoding="utf-8")
        return folder

    return change
