"""The command line as a whole: help, version, failures in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import stapes
from tests.cli.conftest import Run

COMMANDS = (
    *("demo", "init", "serve", "token", "transcribe", "models", "sessions"),
    *("keys", "audit", "usage", "prune", "receipt", "iam"),
)


def test_help_lists_every_command(run: Run) -> None:
    """And no shell completion."""
    result = run("--help")
    assert result.exit_code == 0
    assert all(f" {command} " in result.output for command in COMMANDS)
    assert "completion" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(run: Run, command: str) -> None:
    """Lines that can be copied."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "For example:" in result.output
    assert f"• stapes {command}" in result.output


def test_version_is_printed(run: Run) -> None:
    """The one of the package."""
    assert run("--version").output == f"stapes {stapes.__version__}\n"


def test_module_can_be_run() -> None:
    """``python -m stapes`` is ``stapes``."""
    command = [sys.executable, "-m", "stapes", "--version"]
    assert subprocess.check_output(command, text=True) == f"stapes {stapes.__version__}\n"


def test_wrong_setting_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the setting and not its value."""
    monkeypatch.setenv("STAPES_PORT", "secret")
    result = run("sessions")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: port: ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_broken_settings_file_is_one_line(run: Run, tmp_path: Path) -> None:
    """TOML that is none."""
    (tmp_path / "stapes.toml").write_text("port =")
    result = run("init", "--home", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: stapes.toml of the home cannot be read")
    assert result.stderr.count("\n") == 1


def test_interrupt_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, as shells expect."""

    def interrupt(*_: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stapes.server.home.open_home", interrupt)
    result = run("keys", "list")
    assert (result.exit_code, result.output) == (130, "")
