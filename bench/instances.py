"""Servers that are killed and started again: processes at ports of their own, on one database."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from stapes.cli.own_server import ended_by_signals
from stapes.client.profile import Profile, read_profile
from stapes.errors import ClientError
from stapes.server.new_home import create_home

START_TIMEOUT_S = 60
POLL_S = 0.05
WARM_WORKERS = 2
"""Processes that wait for a stream: the setting `warm_workers`, as it is by default."""

UNLIMITED = {
    "STAPES_LIVE_SESSIONS_PER_TENANCY": "0",
    "STAPES_TOKENS_PER_MINUTE_PER_USER": "0",
    "STAPES_UNAUTHENTICATED_SOCKETS_PER_ADDRESS": "0",
    "STAPES_LOG_LEVEL": "warning",
}


class Instance:
    """One ``stapes serve``; the next one after it is at the same port.

    Attributes:
        url: its base URL.
        log: the file of what all of them say.
    """

    def __init__(self, home: Path, port: int, settings: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = home.parent / f"log-{port}"
        self._command = [sys.executable, "-m", "stapes", "serve", "--home", str(home)]
        self._command += ["--host", "127.0.0.1", "--port", str(port)]
        ours = {name: it for name, it in os.environ.items() if not name.startswith("STAPES_")}
        self._environment = {**ours, **UNLIMITED, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready. Raises `ClientError` when it does not get there."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(trust_env=False, timeout=START_TIMEOUT_S) as client:
            while time.monotonic() < deadline and self._process.poll() is None:
                if _is_ready(client, self.url):
                    return
                time.sleep(POLL_S)
        raise ClientError(
            f"{self.url} did not start: {self.log.read_text(errors='replace')[-500:]}"
        )

    @property
    def process(self) -> psutil.Process:
        """Of the server itself."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def workers(self) -> list[psutil.Process]:
        """The processes that own recognisers: what the templates have forked."""
        return [each for template in self.process.children() for each in template.children()]

    def kill(self) -> None:
        """End it with SIGKILL; its workers end by themselves."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def drain(self) -> None:
        """Ask it to end, SIGTERM, and wait until it has."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(START_TIMEOUT_S)

    def close(self) -> None:
        """End it in whatever state it is."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def instances(count: int, settings: Mapping[str, str]) -> Iterator[tuple[list[Instance], Profile]]:
    """Servers on one home, ready, and who may do everything there; gone when the block is left."""
    with ended_by_signals(), ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stapes-"))
        home, _new = create_home(Path(folder) / "home", datetime.now(UTC))
        made = [Instance(home.path, port, settings) for port in _free_ports(count)]
        for each in made:
            stack.callback(each.close)
            each.start()
        yield made, read_profile(home.config_file)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in opened]


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/ready").is_success
    except httpx.TransportError:
        return False
