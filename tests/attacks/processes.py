"""Servers in processes of their own, over one home."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

import stapes
from stapes import RealtimeSessionToken
from stapes.server.home import Home
from stapes.server.new_home import create_home
from stapes.store.port import Store
from stapes.store.sql import open_store
from tests.attacks.people import Someone, minted_by
from tests.attacks.sockets import opened
from tests.conftest import UNLIMITED
from tests.scenarios.conftest import Peer, peer

SOURCES = str(Path(stapes.__file__).parents[1])
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 120
MOST_LIVE = 4
MOST_MINTED = 30
PAIR_SETTINGS: dict[str, object] = {
    **UNLIMITED,
    "warm_workers": 1,
    "streams": 50,
    "live_sessions_per_user": MOST_LIVE,
    "tokens_per_minute_per_user": MOST_MINTED,
}
_URL = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]*")


@dataclass(frozen=True)
class Process:
    """A server, where it listens, and the file of what it says."""

    url: str
    log: Path

    @property
    def ws_url(self) -> str:
        """Where its streams are opened."""
        return self.url.replace("http", "ws", 1) + "/ws/transcribe/stream"

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far, each line an object; what it tells people at the start left out."""
        told = self.log.read_text("utf-8").split("\n")
        assert told[-1] == "", "the last line is whole"
        return [json.loads(line) for line in told[:-1] if not line.startswith(("Stapes ", "Mint "))]


@dataclass(frozen=True)
class Pair:
    """Two servers, the home and the store that they share."""

    home: Home
    store: Store
    first: Process
    second: Process

    @property
    def both(self) -> tuple[Process, Process]:
        """The two of them."""
        return self.first, self.second


@contextmanager
def serving(home: Path, log: Path, settings: Mapping[str, object]) -> Iterator[Process]:
    """``stapes serve`` over a home until the block ends; settings go by the environment."""
    given = {f"STAPES_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "stapes", "serve", "--home", str(home)]
    command += ["--port", "0", "--host", "127.0.0.1", "--engine", "scripted"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": SOURCES, **given},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Process(_wait_until_ready(process, log), log)
    finally:
        _end(process)


@contextmanager
def serving_pair(folder: Path, database: SecretStr | None) -> Iterator[Pair]:
    """Two servers over a new home in a folder, on its SQLite or on an empty PostgreSQL database."""
    settings = PAIR_SETTINGS | ({"database": database.get_secret_value()} if database else {})
    with ExitStack() as stack:
        home, _ = create_home(folder / "home", datetime.now(UTC), database=database)
        store = stack.enter_context(closing(open_store(home.database)))
        begun = [serving(home.path, folder / f"log{number}", settings) for number in range(2)]
        with ThreadPoolExecutor() as threads:
            first, second = threads.map(stack.enter_context, begun)
        yield Pair(home, store, first, second)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _URL.search(log.read_text("utf-8", "replace"))
        if found and _is_ready(found.group()):
            return found.group()
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8", "replace"))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # Its workers are in its session, which nobody else is in.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@asynccontextmanager
async def live(server: Process, who: Someone) -> AsyncIterator[tuple[Peer, RealtimeSessionToken]]:
    """A socket that is open for somebody, and the token that opened it."""
    token = await asyncio.to_thread(minted_by, server.url, who)
    async with peer(server.ws_url) as client:
        await opened(client, token)
        yield client, token
