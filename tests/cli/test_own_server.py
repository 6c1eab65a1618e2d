"""A server for the occasion, and the commands that use one, with the engine that ships."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from stapes.cli import own_server as module
from stapes.cli.own_server import own_server
from stapes.errors import ClientError
from stapes.samples import load
from tests.shelf import install

DEADLINE_S = 120


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary folders that can be looked into."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def _children() -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


def test_server_is_ready_and_gone_afterwards(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its folder and all its processes."""
    monkeypatch.setenv("STAPES_ENGINE", "scripted")
    before = set(_children())
    with own_server() as server:
        assert httpx.get(f"{server.url}/ready", trust_env=False).status_code == 200
        assert server.profile.key_file.is_relative_to(temporary)
        assert set(_children()) - before
    assert not list(temporary.iterdir())
    assert not set(_children()) - before


def test_server_hears_with_the_models_of_the_users_home(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are in another folder than its own home."""
    monkeypatch.setenv("STAPES_HOME", str(temporary.parent / "users"))
    install(temporary.parent / "users" / "models", "mine", "en-US")
    with own_server() as server:
        ready = httpx.get(f"{server.url}/ready", trust_env=False).json()
    assert [share["model"] for share in ready["models"]] == ["mine"]


def test_server_ends_whatever_happens(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the block, and a signal that would have ended the process."""
    monkeypatch.setenv("STAPES_ENGINE", "scripted")
    before = set(_children())
    with pytest.raises(ZeroDivisionError), own_server():
        raise ZeroDivisionError
    with pytest.raises(SystemExit) as left, own_server():
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 128 + signal.SIGTERM
    assert not list(temporary.iterdir())
    assert not set(_children()) - before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_server_that_does_not_start_is_told_with_its_last_words(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a setting of the environment is wrong."""
    monkeypatch.setenv("STAPES_STREAMS", "none")
    with (
        pytest.raises(ClientError, match=r"did not start: Error: .*streams"),
        own_server(),
    ):
        pass
    assert not list(temporary.iterdir())


def test_server_that_never_becomes_ready_is_given_up(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time."""
    monkeypatch.setenv("STAPES_ENGINE", "scripted")
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0)
    before = set(_children())
    with pytest.raises(ClientError, match="did not start"), own_server():
        pass
    assert not list(temporary.iterdir())
    assert not set(_children()) - before


def test_transcribe_starts_a_server_of_its_own(temporary: Path) -> None:
    """No home, no profile, no server: words."""
    environment = {**os.environ, "HOME": str(temporary.parent)}
    command = [sys.executable, "-m", "stapes", "transcribe", "--fast", str(load("short").path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=DEADLINE_S, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "meet again on monday morning" in result.stdout
    assert not list(temporary.iterdir())


def test_demo_shows_captions_words_and_delays(temporary: Path) -> None:
    """The README's first command, from nothing."""
    environment = {**os.environ, "HOME": str(temporary.parent)}
    command = [sys.executable, "-m", "stapes", "demo"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=DEADLINE_S, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "minted a token for the session ocid1.aispeechrealtimesession.oc1.." in result.stdout
    assert result.stdout.count("\n  … ") > 5
    assert "president of the company" in result.stdout
    for figure in ("Word error rate: ", "First partial: ", "Finals: "):
        assert f"\n{figure}" in result.stdout
    assert "stapes transcribe FILE" in result.stdout
    (advice,) = [line for line in result.stdout.splitlines() if "For better words" in line]
    assert "stapes models pull " in advice
    assert not list(temporary.iterdir())
