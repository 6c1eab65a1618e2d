"""A server for the occasion: a ``stapes serve`` of our own, with a home that is thrown away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import NoReturn

import httpx
from pydantic import ValidationError

from stapes.client.profile import Profile, Server, read_profile
from stapes.errors import ClientError
from stapes.server.new_home import create_home
from stapes.settings import load

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
POLL_S = 0.05

_URL = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that runs until its block is left. ``profile`` may do everything there.

    It hears with the models of the user's own home.

    ``config_file`` is what any OCI SDK reads, and where ``profile`` was read from; ``log`` is the
    file of what the server says.
    """

    url: str
    profile: Profile
    config_file: Path
    pid: int
    log: Path


@contextmanager
def own_server(defaults: Mapping[str, str] = MappingProxyType({})) -> Iterator[OwnServer]:
    """Make a home in a temporary folder and serve it at a free port of loopback.

    ``defaults`` are settings, as environment, where ours does not say otherwise.

    Server and folder are gone when the block is left, by whatever way but SIGKILL. Raises
    `ClientError`, with the server's last words, when it does not start.
    """
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="stapes-") as folder:
        home, _new = create_home(Path(folder) / "home", datetime.now(UTC))
        log = Path(folder) / "log"
        with _served(home.path, log, defaults) as process:
            url = _wait_until_ready(process, log)
            profile = read_profile(home.config_file)
            yield OwnServer(url, profile, home.config_file, process.pid, log)


@contextmanager
def server_at(
    url: str | None,
    config_file: Path | None,
    profile_name: str,
    compartment: str | None,
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """The server of ``url`` with a profile of a configuration file, else one for the occasion.

    ``defaults`` are settings of the latter, as environment, where ours does not say otherwise.
    """
    if url is not None:
        profile = read_profile(config_file, profile_name)
        yield Server(url, profile, compartment or profile.compartment)
    else:
        with own_server(defaults) as own:
            yield Server(own.url, own.profile, own.profile.compartment)


@contextmanager
def _served(
    home: Path, log: Path, defaults: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "stapes", "serve", "--home", str(home), "--port", "0"]
    # In a session of its own, so that Ctrl-C reaches us alone and the last words can be fetched.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**defaults, **_environment()},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _environment() -> dict[str, str]:
    """Ours, with the models of the user; its records are in its own home, wherever others are."""
    ours = {name: it for name, it in os.environ.items() if name != "STAPES_DATABASE"}
    return ours | _users_models()


def _users_models() -> dict[str, str]:
    """The setting that makes a server hear with the models of the user's own home."""
    try:
        return {"STAPES_MODELS_FOLDER": str(load().shelf)}
    except (ValidationError, tomllib.TOMLDecodeError):
        return {}  # if it is the environment that is wrong, the server says so


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # Its workers are in its session, which nobody else is in.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    with httpx.Client(trust_env=False, timeout=START_TIMEOUT_S) as client:
        while time.monotonic() < deadline and process.poll() is None:
            if (found := _URL.search(_read(log))) and _is_ready(client, found.group()):
                return found.group()
            time.sleep(POLL_S)
    said = _read(log).strip().splitlines() or ["it said nothing"]
    raise ClientError(f"the server for this occasion did not start: {said[-1]}")


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/ready").is_success
    except httpx.TransportError:
        return False


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP leave the block as an exception does, so that what it started ends."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    finally:
        for number, way in before.items():
            signal.signal(number, way)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
