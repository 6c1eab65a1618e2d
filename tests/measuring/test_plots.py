"""Plots of what was measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stapes.errors import MeasuringError
from stapes.measuring.capacity import Step
from stapes.measuring.delays import Delays
from stapes.measuring.plots import check_plot, draw_capacity, draw_delays, draw_word_errors
from stapes.measuring.scoring import WordErrorRate

FOUND = Delays((100.0, 300.0), (50.0, 60.0, 90.0), (), 0, 0, 0)
SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml"}


@pytest.mark.parametrize("ending", SIGNATURES)
def test_plots_are_files_of_their_kind(tmp_path: Path, ending: str) -> None:
    """The name's ending decides."""
    paths = [tmp_path / f"{number}{ending}" for number in range(3)]
    rate = WordErrorRate(20.0, 15.0, 25.0, 100, 20, 0, 0)
    draw_word_errors(paths[0], {"a": {"service": rate, "direct": rate}}, "words")
    draw_delays(paths[1], FOUND, "delays")
    draw_capacity(paths[2], [Step(1, FOUND), Step(2, FOUND)], "capacity")
    assert [path.read_bytes()[:4] for path in paths] == [SIGNATURES[ending][:4]] * 3


def test_what_cannot_be_drawn_is_told_before(tmp_path: Path) -> None:
    """Another ending, a folder that is not there."""
    check_plot(None)
    with pytest.raises(MeasuringError, match=r"\.png or \.svg"):
        check_plot(tmp_path / "plot.pdf")
    with pytest.raises(MeasuringError, match="no folder"):
        check_plot(tmp_path / "none" / "plot.png")


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It names the command that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MeasuringError, match=r"pip install 'stapes\[bench\]'"):
        check_plot(tmp_path / "plot.png")
