"""The log: what it looks like and what is never in it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from stapes.server.logs import WITHHELD, configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Logging is the process's own; leave it as it was."""
    root, known = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**known)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    configure("info")
    return sys.stderr  # type: ignore[return-value]


def test_lines_are_json_where_a_program_reads(lines: io.StringIO) -> None:
    """One object a line, with level, time and logger."""
    structlog.get_logger("stapes.here").info("happened", session="s", count=1)

    line = json.loads(lines.getvalue())
    assert (line["event"], line["level"], line["session"]) == ("happened", "info", "s")
    assert line["logger"] == "stapes.here"
    assert line["timestamp"].endswith("Z")


def test_lines_are_key_and_value_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """For people."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure("info")

    structlog.get_logger().warning("happened", session="s")

    assert "session" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


@pytest.mark.parametrize("said", ["zoé", "\x9b31m", "\u2028", "\ud800", "a\nb\x1b"])
def test_lines_are_ascii(lines: io.StringIO, said: str) -> None:
    """And hold what was said all the same."""
    structlog.get_logger().info("happened", said=said, odd=object)

    line = lines.getvalue()
    assert line.isascii()
    assert line.count("\n") == 1
    assert json.loads(line)["said"] == said
    assert "object" in json.loads(line)["odd"]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_traceback_comes_without_local_variables(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    """They hold tokens and audio."""
    written = stream()
    monkeypatch.setattr(sys, "stderr", written)
    configure("info")

    _fail_with("eyJ.a.b")

    assert "ValueError" in written.getvalue()
    assert "eyJ.a.b" not in written.getvalue()


def _fail_with(token: str) -> None:
    try:
        raise ValueError(str(len(token)))
    except ValueError:
        structlog.get_logger().exception("failed")


@pytest.mark.parametrize("name", sorted(WITHHELD))
def test_what_must_not_be_logged_is_withheld_by_name(lines: io.StringIO, name: str) -> None:
    """Should a call site ever forget."""
    structlog.get_logger().info("happened", **{name: "the thing itself"})

    assert "the thing itself" not in lines.getvalue()
    assert json.loads(lines.getvalue())[name] == "[withheld]"


def test_level_is_the_one_of_the_settings(lines: io.StringIO) -> None:
    """Below it nothing is said."""
    structlog.get_logger().debug("quiet")

    assert lines.getvalue() == ""


@pytest.mark.parametrize("name", ["uvicorn.error", "websockets.server", "alembic.runtime"])
def test_libraries_speak_from_warnings_up_only(lines: io.StringIO, name: str) -> None:
    """At info they would log request targets with queries."""
    logging.getLogger(name).info("GET /?token=secret")
    logging.getLogger(name).warning("trouble")

    assert json.loads(lines.getvalue())["event"] == "trouble"
