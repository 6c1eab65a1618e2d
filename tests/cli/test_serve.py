"""``stapes serve`` as a process."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from stapes.server.new_home import create_home
from stapes.server.running import listening_socket
from tests.waiting import is_running, wait_until

TIMEOUT_S = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_home(tmp_path_factory.mktemp("serve") / "a home", datetime.now(UTC))[0].path


def command(home: Path, *options: str) -> list[str]:
    stapes = [sys.executable, "-m", "stapes", "serve", "--engine", "scripted"]
    return [*stapes, "--home", str(home), *options]


@contextmanager
def serving(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its URL and the first line it prints, until the block ends."""
    process = subprocess.Popen(
        command(home, "--port", "0", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found is not None, line
            yield process, found.group(), line
        finally:
            process.terminate()


def failed(home: Path, *options: str) -> str:
    """What a server that cannot start says; exit code 1 and one line."""
    done = subprocess.run(
        command(home, *options), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_exit_0_and_nothing_stays(home: Path, number: signal.Signals) -> None:
    """Its worker processes are gone too."""
    with serving(home) as (process, url, _):
        assert httpx.get(f"{url}/ready", trust_env=False).json()["models"][0]["model"] == "scripted"
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, said = process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 0
    assert "Traceback" not in said
    assert children
    wait_until(lambda: not any(is_running(child.pid) for child in children))


def test_signal_before_it_has_begun_ends_it_as_cleanly(home: Path) -> None:
    """The engine's process, which is still loading, goes with it."""
    with subprocess.Popen(
        command(home, "--port", "0"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        server = psutil.Process(process.pid)
        while not (children := server.children()):
            assert process.poll() is None
            time.sleep(0.005)
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)

    assert process.returncode == 0
    wait_until(lambda: not any(is_running(child.pid) for child in children))


def test_it_says_where_it_listens_and_how_to_mint_a_token(home: Path) -> None:
    """The command is one to paste: the token comes back as JSON."""
    with serving(home) as (process, url, line):
        assert line.startswith(f"Stapes listens on {url}")
        assert process.stdout is not None
        words = shlex.split(process.stdout.readline().partition(": ")[2])
        minted = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )

    assert '"token":"' in minted.stdout


def test_it_says_what_to_pull_when_pocketsphinx_is_alone(home: Path) -> None:
    """In one line; not when one engine was asked for that is another."""
    with serving(home, "--engine", "pocketsphinx") as (process, _, _):
        assert process.stdout is not None
        process.stdout.readline()
        assert "stapes models pull " in process.stdout.readline()
    with serving(home) as (process, _, _):
        process.terminate()
        assert "models pull" not in process.communicate(timeout=TIMEOUT_S)[0]


def test_log_is_json_without_query_and_token(home: Path) -> None:
    """Standard error is no terminal here."""
    with serving(home) as (process, url, _):
        httpx.get(
            f"{url}/health?token=secret", headers={"authorization": "secret"}, trust_env=False
        )
        process.terminate()
        _, said = process.communicate(timeout=TIMEOUT_S)

    requests = [line for line in map(json.loads, said.splitlines()) if line["event"] == "request"]
    assert [line["path"] for line in requests][-1:] == ["/health"]
    assert "secret" not in said


def test_address_that_is_not_loopback_warns_that_there_is_no_tls(home: Path) -> None:
    """One line on standard error."""
    with serving(home, "--host", "0.0.0.0") as (process, url, _):  # noqa: S104
        assert url.startswith("http://127.0.0.1:")
        process.terminate()
        _, said = process.communicate(timeout=TIMEOUT_S)

    assert "Warning: 0.0.0.0 is not loopback, and there is no TLS." in said.splitlines()


def test_missing_home_is_one_line_that_names_init(tmp_path: Path) -> None:
    """And exit code 1."""
    assert "run `stapes init" in failed(tmp_path / "nothing")


def test_port_in_use_is_one_line(home: Path) -> None:
    """And exit code 1."""
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        said = failed(home, "--port", str(port))

    assert said == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use"


def test_unknown_engine_is_one_line(home: Path) -> None:
    """And exit code 1."""
    assert "unheard-of" in failed(home, "--port", "0", "--engine", "unheard-of")


def test_unknown_model_is_one_line_that_names_what_is_installed(home: Path) -> None:
    """And exit code 1."""
    done = subprocess.run(
        [sys.executable, "-m", "stapes", "serve", "--home", str(home), "--model", "unheard-of"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("Error: no model 'unheard-of' that hears is installed; there are: ")
    assert said.endswith("pocketsphinx")


def test_what_sessions_leave_is_collected_soon() -> None:
    """Of 400 that refer to themselves a few wait, though all that a server needs is loaded."""
    program = """
import weakref
from collections import deque
import stapes.server.running
from stapes.cli.serve import _spare_what_is_loaded

class Session:
    def __init__(self):
        self.itself = self
        self.parts = [[] for _ in range(300)]

_spare_what_is_loaded()
live, known, most = deque(maxlen=5), weakref.WeakSet(), 0
for _ in range(400):
    live.append(Session())
    known.add(live[-1])
    most = max(most, len(known))
print(most)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30
