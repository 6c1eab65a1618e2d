"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from stapes.cli import app
from tests.conftest import Served

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run ``stapes`` with some arguments, on a terminal wide enough for any line.

    The log of the server that tests share is kept out of the output.
    """
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    with capture_logs():
        yield lambda *arguments, **options: runner.invoke(app, [*map(str, arguments)], **options)


@pytest.fixture
def at_server(served: Served) -> tuple[str, ...]:
    """The options that lead a command to the test server."""
    return ("--url", served.url, "--config-file", str(served.home.config_file))
