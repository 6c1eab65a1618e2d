"""Run a server: from settings to a clean end.

The order matters at both ends. At the start the port is taken first, so that a port in use is
known before anything heavy is loaded. At the end nothing new is accepted, live sessions are
drained, and only then uvicorn closes what is left, since it would close sockets at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog
import uvicorn
from uvloop import new_event_loop

from stapes.errors import StapesError
from stapes.server.app import create_app
from stapes.server.deployment import Deployment, open_deployment
from stapes.server.direct import Direct
from stapes.server.http_transport import HttpTransport
from stapes.server.transport import Transport
from stapes.settings import Settings

BACKLOG = 1024
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes requests, for whoever started it. ``url`` is its base URL."""

    url: str
    deployment: Deployment
    stop: Callable[[], None]
    """Ask it to end, from any thread; `serve` returns when it has."""


def serve(settings: Settings, on_ready: Callable[[Running], None] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or `Running.stop`; then drain and return.

    ``on_ready`` is called once, in the server's thread, when requests are taken. Signals are
    heeded in the main thread only. Raises `StapesError` when the address cannot be listened on,
    and what `stapes.server.deployment.open_deployment` raises.
    """
    with listening_socket(settings.host, settings.port) as listener:
        url = base_url(settings.host, listener.getsockname()[1])
        work = _serve(settings, listener, url, on_ready)
        # Cancelled: a signal came before it had begun.
        with (
            suppress(asyncio.CancelledError),
            asyncio.Runner(loop_factory=new_event_loop) as runner,
        ):
            runner.run(work)


@contextmanager
def listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A TCP socket that listens on ``host`` and ``port`` (0: any).

    Raises `StapesError` when the address is in use or is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # it names the address once more
        raise StapesError(f"cannot listen on {host}:{port}: {reason}") from error
    with listener:
        yield listener


def base_url(host: str, port: int) -> str:
    """The URL of a server; a wildcard address is reached over loopback."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


async def _serve(
    settings: Settings,
    listener: socket.socket,
    url: str,
    on_ready: Callable[[Running], None] | None,
) -> None:
    starting = asyncio.current_task()
    assert starting is not None  # this is a coroutine
    with _heeded(lambda _: starting.cancel()):
        async with open_deployment(settings) as deployment:
            server = _Server(
                deployment, lambda: _ready(Running(url, deployment, server.stop), on_ready)
            )
            await server.serve(sockets=[listener])
    log.info("stopped")


def _ready(running: Running, on_ready: Callable[[Running], None] | None) -> None:
    log.info("listening", at=running.url)
    if on_ready is not None:
        on_ready(running)


class _Server(uvicorn.Server):
    """uvicorn's server, with our end to it."""

    def __init__(self, deployment: Deployment, on_started: Callable[[], None]) -> None:
        super().__init__(_config(deployment))
        self._deployment = deployment
        self._on_started = on_started

    def stop(self) -> None:
        """Ask the server to end, from any thread: its loop looks ten times a second."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let live sessions end, then take no new connections and close the rest."""
        log.info("stopping", live=len(self._deployment.live))
        # Requests are answered to the end: whoever asks learns that this server is stopping.
        await self._deployment.drain()
        for server in self.servers:
            server.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal. uvicorn would raise it again at the end, and the exit be no clean 0."""
        with _heeded(lambda number: self.handle_exit(number, None)):
            yield


@contextmanager
def _heeded(act: Callable[[int], object]) -> Iterator[None]:
    """Call ``act`` with the number of each signal that comes, where signals can come."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, act, number)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _config(deployment: Deployment) -> uvicorn.Config:
    settings = deployment.settings
    return uvicorn.Config(
        create_app(deployment),
        http=partial(HttpTransport, Direct(deployment)),  # type: ignore[arg-type] # it is called
        ws=Transport,
        ws_max_size=settings.longest_audio_frame_bytes,
        ws_ping_interval=settings.ping_interval_s,
        ws_ping_timeout=settings.ping_timeout_s,
        ws_per_message_deflate=False,  # audio does not compress, and it costs both sides
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        backlog=BACKLOG,
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
    )
