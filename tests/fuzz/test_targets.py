"""The fuzz targets, on the committed corpus and on what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "fuzz" / "corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
MOST_BYTES = 200_000


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus_brings_about_named_errors_alone(path: Path) -> None:
    """The target returns, whatever the input means."""
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=200))
def test_any_bytes_bring_about_named_errors_alone(name: str, data: bytes) -> None:
    """Bytes of any kind are read or refused by name."""
    TARGETS[name](data)


def test_every_target_has_a_small_corpus_and_is_run() -> None:
    """Folder, target and script agree."""
    assert {path.parent.name for path in INPUTS} == set(TARGETS)
    assert sum(path.stat().st_size for path in INPUTS) < MOST_BYTES
    script = (ROOT / "scripts" / "fuzz").read_text(encoding="utf-8")
    assert f"for target in {' '.join(TARGETS)}; do" in script
