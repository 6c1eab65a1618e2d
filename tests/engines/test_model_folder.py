"""The record of a model's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stapes.engines.model_folder import RECORD, read_model_folder
from stapes.errors import EngineError

LEAST = """engine = "sherpa"
model_type = "ORACLE"
languages = ["en-US", "es-ES"]
domains = ["GENERIC"]
sample_rate_hz = 16000
"""
FILE = "\n[[files]]\npath = "


def write(folder: Path, record: str, *files: str) -> Path:
    (folder / RECORD).write_text(record, encoding="utf-8")
    for name in files:
        (folder / name).write_text("", encoding="utf-8")
    return folder


def test_what_an_engine_reads(tmp_path: Path) -> None:
    """The engine's own table are its options; what is for others is passed over."""
    record = LEAST + 'licence = "MIT"\n[sherpa]\ndelay_ms = 3\n[other]\nx = 1\n'
    found = read_model_folder(write(tmp_path, record))
    assert (found.engine, found.languages) == ("sherpa", ("en-US", "es-ES"))
    assert (found.domains, found.model_type) == (("GENERIC",), "ORACLE")
    assert found.sample_rate_hz == 16000
    assert dict(found.options) == {"delay_ms": 3}


def test_languages(tmp_path: Path) -> None:
    """Tags know no case, and a star is every language."""
    found = read_model_folder(write(tmp_path, LEAST))
    assert found.speaks("ES-es")
    assert not found.speaks("en")
    every = LEAST.replace('"es-ES"', '"*"')
    assert read_model_folder(write(tmp_path, every)).speaks("en")


def test_files(tmp_path: Path) -> None:
    """Are found by their names, whatever is between."""
    record = LEAST + FILE + '"encoder-1.int8.onnx"' + FILE + '"tokens.txt"\n'
    found = read_model_folder(write(tmp_path, record, "encoder-1.int8.onnx", "tokens.txt"))
    assert found.file("encoder*.onnx") == tmp_path / "encoder-1.int8.onnx"
    assert found.find("joiner*.onnx") is None
    with pytest.raises(EngineError, match="no file joiner"):
        found.file("joiner*.onnx")


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ("engine = ", "no record of a model"),
        ('engine = "sherpa"', "languages"),
        (LEAST.replace("16000", "'much'"), "sample_rate_hz"),
        (LEAST + "files = 3\n", "no record of a model"),
        (LEAST + "files = [3]\n", "no record of a model"),
        (LEAST + "sherpa = 3\n", "options"),
        (LEAST + FILE + '"missing.onnx"', "no file .*missing.onnx"),
        (LEAST + FILE + '"../x/stapes-model.toml"', "no file"),
    ],
)
def test_refused(tmp_path: Path, record: str, named: str) -> None:
    """With what is wrong."""
    with pytest.raises(EngineError, match=named):
        read_model_folder(write(tmp_path, record))


def test_no_record(tmp_path: Path) -> None:
    """A folder without one is no model."""
    with pytest.raises(EngineError, match=r"no model.*stapes-model\.toml"):
        read_model_folder(tmp_path)
