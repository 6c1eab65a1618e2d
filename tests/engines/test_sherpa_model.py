"""Models of sherpa-onnx in their folders."""

from __future__ import annotations

import pytest

from stapes.engines.model_folder import read_model_folder
from stapes.engines.sherpa import SherpaEngine
from stapes.engines.sherpa_model import KINDS, find_kind
from stapes.errors import EngineError
from tests.engines.models import Change


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        (("[sherpa]", '[sherpa]\nkind = "tea"'), "no kind of model 'tea'.*t-one-ctc"),
        (("[sherpa]", '[sherpa]\nkind = "transducer"'), r"no file encoder\*"),
        (("[sherpa]", '[sherpa]\nkind = "paraformer"'), r"no file encoder\*"),
        (('"model.onnx"', '"tokens.txt"'), r"no file \*\.onnx"),
    ],
)
def test_a_model_that_cannot_be_loaded(changed: Change, pair: tuple[str, str], named: str) -> None:
    """Is an error that says why."""
    with pytest.raises(EngineError, match=named):
        SherpaEngine(changed(pair))


def test_a_model_that_is_none(changed: Change) -> None:
    """Is an error too."""
    folder = changed()
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match="could not be loaded"):
        SherpaEngine(folder)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (("encoder-1.onnx", "decoder-1.onnx", "joiner-1.int8.onnx"), "transducer"),
        (("encoder.int8.onnx", "decoder.int8.onnx"), "paraformer"),
    ],
)
def test_the_kind_by_the_files(changed: Change, files: tuple[str, ...], kind: str) -> None:
    """A joiner makes a transducer; an encoder without one is a Paraformer's."""
    named = "\n".join(f'[[files]]\npath = "{file}"' for file in files)
    folder = changed(('[[files]]\npath = "model.onnx"', named))
    for file in files:
        (folder / file).touch()
    assert find_kind(read_model_folder(folder)) == kind


def test_the_kinds() -> None:
    """Each is loaded by something that sherpa-onnx has."""
    from sherpa_onnx import OnlineRecognizer

    assert all(hasattr(OnlineRecognizer, loader) for loader, _ in KINDS.values())
