"""Captions in a pipe and on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from stapes.cli.captions import LineCaptions, LiveCaptions, captions_for
from stapes.client.results import Final, Partial

PARTIAL = Partial("one", 0, 1, 0, 1.0, ())
FINAL = Final("one two", 0, 1, 0, 1.0, ())
EMPTY = Final("", 0, 0, 0, 0.0, ())


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("finals", "partials", "expected"),
    [
        (True, False, "one two\n"),
        (True, True, "  … one\none two\n"),
        (False, False, ""),
    ],
)
def test_pipe_gets_lines(
    capsys: pytest.CaptureFixture[str], *, finals: bool, partials: bool, expected: str
) -> None:
    """Of the kinds that were asked for; an empty final is none."""
    with LineCaptions(finals=finals, partials=partials) as captions:
        captions.sent(100)
        for result in (PARTIAL, FINAL, EMPTY):
            captions.heard(result)
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("duration_s", [10.0, None])
def test_terminal_gets_captions_that_form(
    monkeypatch: pytest.MonkeyPatch, duration_s: float | None
) -> None:
    """Partials and the clock on standard error; standard output has the finals alone."""
    terminal, output = Terminal(), io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", output)
    captions = captions_for(duration_s, finals=True)
    assert isinstance(captions, LiveCaptions)
    with captions:
        captions.sent(5000)
        captions.heard(PARTIAL)
        captions._live.refresh()
        captions.heard(FINAL)
        captions.heard(EMPTY)
    assert output.getvalue() == "one two\n"
    assert "one" in terminal.getvalue()
    assert "0:05" in terminal.getvalue()
    assert ("50 %" in terminal.getvalue()) is (duration_s is not None)


def test_nobody_watching_means_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is not a terminal."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(captions_for(1.0, finals=True), LineCaptions)
