"""A real server for tests: uvicorn in a thread, a port of loopback, the scripted engine."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from stapes.server.deployment import Deployment
from stapes.server.home import Home
from stapes.server.new_home import create_home
from stapes.server.running import Running, serve
from stapes.settings import Settings
from stapes.store.sql import open_store
from tests.engines.models import DIGITS
from tests.postgres import PostgresServer, empty, postgres_server
from tools import make_tiny_whisper

# All tests come from one address and as one user: limits are for the tests that are about them.
UNLIMITED = dict.fromkeys(
    (
        "live_sessions_per_tenancy",
        "tokens_per_minute_per_user",
        "failed_authentications_per_minute",
        "unauthenticated_sockets_per_address",
        "drain_window_s",
    ),
    0,
)
# A shell that runs the tests in the background has them ignore Ctrl-C, and so would all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 120

Outcome = tuple[Running, asyncio.AbstractEventLoop] | BaseException


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, the home it serves, and the event loop of its thread."""

    running: Running
    home: Home
    thread: Thread
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Its base URL: ``http://127.0.0.1:PORT``."""
        return self.running.url

    @property
    def ws_url(self) -> str:
        """Where its streams are opened, without a query."""
        return self.url.replace("http", "ws", 1) + "/ws/transcribe/stream"

    @property
    def deployment(self) -> Deployment:
        """What it has inside."""
        return self.running.deployment

    @property
    def profile(self) -> str:
        """The profile of ``home.config_file`` that may do everything."""
        return self.home.profile

    def stop(self) -> None:
        """End it and wait until it has ended; it drains first. Safe to call twice."""
        self.running.stop()
        self.thread.join(STOP_TIMEOUT_S)
        assert not self.thread.is_alive(), "the server did not end"


@contextmanager
def running_server(directory: Path, **settings: Any) -> Iterator[Served]:
    """A server over a home in ``directory`` (made when there is none), until the block ends."""
    home, _ = create_home(directory, datetime.now(UTC))
    outcomes: Queue[Outcome] = Queue()
    chosen = Settings(
        **{**UNLIMITED, "engine": "scripted", "port": 0, "home": directory, **settings}
    )
    thread = Thread(target=_serve, args=(chosen, outcomes), name="server", daemon=True)
    thread.start()
    outcome = outcomes.get(timeout=START_TIMEOUT_S)
    if isinstance(outcome, BaseException):
        raise outcome
    running, loop = outcome
    server = Served(running, home, thread, loop)
    try:
        yield server
    finally:
        server.stop()
    if not outcomes.empty():
        raise AssertionError("the server failed") from outcomes.get_nowait()  # type: ignore[misc]


def _serve(settings: Settings, outcomes: Queue[Outcome]) -> None:
    try:
        serve(settings, lambda it: outcomes.put((it, asyncio.get_running_loop())))
    except BaseException as failure:
        outcomes.put(failure)


@pytest.fixture(scope="session", autouse=True)
def _plain_log() -> None:
    """Lines without colours and tracebacks without local variables: these take seconds to draw."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Whisper model of random weights."""
    return make_tiny_whisper.make(tmp_path_factory.mktemp("models") / "tiny-whisper")


@pytest.fixture(scope="session")
def model_folders(tiny_whisper: Path) -> dict[str, Path]:
    """A model for each engine that brings none, by the engine's name."""
    return {"sherpa": DIGITS, "whisper": tiny_whisper}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests that want one."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> Iterator[SecretStr]:
    """A database with the newest schema."""
    with postgres.database() as url:
        open_store(url).close()
        yield url


@pytest.fixture
def postgres_url(migrated_postgres: SecretStr) -> SecretStr:
    """The URL of a database with the newest schema and nothing in it."""
    empty(migrated_postgres)
    return migrated_postgres


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests that leave it as they find it."""
    with running_server(tmp_path_factory.mktemp("served") / "home") as server:
        yield server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start servers of one's own, over the home ``tmp_path / "home"``, with other settings."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Served:
            return stack.enter_context(running_server(tmp_path / "home", **settings))

        yield start
