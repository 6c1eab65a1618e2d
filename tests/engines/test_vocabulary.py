"""The vocabulary in a sentencepiece model."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.engines.vocabulary import write_vocabulary
from stapes.errors import EngineError
from tests.engines.models import field, piece


def test_pieces_and_scores() -> None:
    """In their order, whatever else the file holds."""
    rest = field(2, b"trainer") + b"\x18\x96\x01" + b"\x21" + bytes(8)
    model = piece("<unk>", 0, 2) + piece("▁LOW", -0.5) + rest + field(1, field(1, b"x"))
    assert write_vocabulary(model) == "<unk>\t0.0\n▁LOW\t-0.5\nx\t0.0\n"


@pytest.mark.parametrize(
    "model", [b"", b"nonsense", piece("LOW", 0)[:-1], b"\x0a", b"\x0b", field(1, b"")]
)
def test_what_is_no_such_file(model: bytes) -> None:
    """Is told."""
    with pytest.raises(EngineError, match="the vocabulary cannot be read"):
        write_vocabulary(model)


@given(st.binary(max_size=200))
def test_whatever_the_bytes(model: bytes) -> None:
    """They are a vocabulary, or that is told; nothing else is raised."""
    with suppress(EngineError):
        assert write_vocabulary(model)
