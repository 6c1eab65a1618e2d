"""The card of a model's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stapes.engines.model_folder import CARD, read_model_folder
from stapes.errors import EngineError

LEAST = 'engine = "sherpa"\nkind = "nemo-ctc"\nlanguages = ["en-US"]\n'


def write(folder: Path, card: str, *files: str) -> Path:
    (folder / CARD).write_text(card, encoding="utf-8")
    for name in files:
        (folder / name).write_text("", encoding="utf-8")
    return folder


def test_the_least_card(tmp_path: Path) -> None:
    """What it does not say has a default."""
    found = read_model_folder(write(tmp_path, LEAST))
    assert (found.engine, found.kind, found.languages) == ("sherpa", "nemo-ctc", ("en-US",))
    assert (found.domains, found.model_type) == (("GENERIC",), "ORACLE")
    assert (found.sample_rate_hz, found.delay_ms) == (16000, 0)
    assert not found.files
    assert not found.options


def test_files(tmp_path: Path) -> None:
    """Are paths in the folder; one that the card does not name is asked for by its part."""
    card = LEAST + '[files]\nmodel = "m.onnx"\n'
    found = read_model_folder(write(tmp_path, card, "m.onnx"))
    assert found.file("model") == str(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="nemo-ctc model needs a file 'tokens'"):
        found.file("tokens")


@pytest.mark.parametrize(
    ("card", "named"),
    [
        ("engine = ", "no card of a model"),
        ('engine = "sherpa"\nkind = "x"\n', "languages"),
        (LEAST + "sample_rate_hz = 'much'\n", "sample_rate_hz"),
        (LEAST + "shoe_size = 42\n", "shoe_size"),
        (LEAST + "files = 3\n", "no card of a model"),
        (LEAST + '[files]\nmodel = "missing.onnx"\n', "no file .*missing.onnx"),
        (LEAST + '[files]\nmodel = "../stapes-model.toml"\n', "no file"),
        (LEAST + "real_time_factor = 0\n", "real_time_factor"),
    ],
)
def test_refused(tmp_path: Path, card: str, named: str) -> None:
    """With what is wrong."""
    with pytest.raises(EngineError, match=named):
        read_model_folder(write(tmp_path, card))


def test_no_card(tmp_path: Path) -> None:
    """A folder without one is no model."""
    with pytest.raises(EngineError, match=r"no model.*stapes-model\.toml"):
        read_model_folder(tmp_path)
