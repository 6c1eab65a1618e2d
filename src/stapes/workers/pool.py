"""The pool of worker processes, as the server sees it.

An engine is loaded once, by the template process; workers are forked from that. Where an engine
serves one stream a process, each stream gets a fresh process and takes it along when it ends: what
one stream did cannot reach the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import structlog

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import Capabilities
from stapes.errors import (
    EngineError,
    InternalServerError,
    InvalidParameterError,
    ServiceUnavailableError,
)
from stapes.protocol.events import (
    AudioHeard,
    Event,
    PartialArrived,
    RecogniserFailed,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard
from stapes.workers.frames import (
    FrameReader,
    Kind,
    Report,
    decode_report,
    encode,
    encode_params,
)

log = structlog.get_logger("stapes.workers")

Post = Callable[[Event], None]

OPEN_TIMEOUT_S = 10.0
FORK_TIMEOUT_S = 10.0
LONGEST_RESTART_PAUSE_S = 30.0


class Ear:
    """One stream's recogniser in its worker process; events go to the ``post`` it came with."""

    def __init__(self, link: _Link, stream: int, post: Post, on_release: Callable[[], None]):
        self._link = link
        self._stream = stream
        self._post = post
        self._on_release = on_release
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed(self, audio: bytes) -> None:
        """Give audio. The caller bounds what it feeds ahead of the `AudioHeard` that come back."""
        self._link.send(Kind.AUDIO, self._stream, audio)

    def flush(self) -> None:
        """End the utterance now; one `UtteranceArrived` with ``is_answer`` follows."""
        self._link.send(Kind.FLUSH, self._stream)

    def release(self) -> None:
        """Give the recogniser back. Safe to call twice."""
        self._link.send(Kind.CLOSE, self._stream)
        self._link.forget(self._stream)
        release, self._on_release = self._on_release, _nothing
        release()

    def receive(self, kind: Kind, payload: bytes) -> None:
        """Pass a frame of the worker on as events."""
        if kind is Kind.OPENED:
            if not self.opened.done():
                self.opened.set_result(None)
        elif kind is Kind.HEARD:
            for event in _events(decode_report(payload)):
                self._post(event)
        else:
            self.fail(json.loads(payload))

    def fail(self, cause: str) -> None:
        """The stream's recogniser is gone; the peer is not told why."""
        log.error("recogniser failed", pid=self._link.pid, cause=cause)
        if self.opened.done():
            self._post(RecogniserFailed(InternalServerError(cause)))
        else:
            self.opened.set_exception(EngineError(cause))


def _nothing() -> None:
    pass


def _events(report: Report) -> list[Event]:
    """A report as events, the account of the audio last."""
    events: list[Event] = []
    for index, item in enumerate(report.items, start=1):
        if isinstance(item, PartialHeard):
            events.append(PartialArrived(item))
        else:
            events.append(UtteranceArrived(item, report.is_answer and index == len(report.items)))
    return [*events, AudioHeard(report.audio_bytes, report.speech_ms, report.is_pending)]


class _Link(asyncio.Protocol):
    """The socket to one worker process."""

    def __init__(self, pid: int, on_lost: Callable[[_Link], None]) -> None:
        self.pid = pid
        self.ears: dict[int, Ear] = {}
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape alone

    def data_received(self, data: bytes) -> None:
        for kind, stream, payload in self._reader.feed(data):
            if ear := self.ears.get(stream):
                ear.receive(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        ears, self.ears = self.ears, {}
        for ear in ears.values():
            ear.fail(f"worker process {self.pid} ended")
        self._on_lost(self)

    def send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        if self._transport is not None and stream in self.ears:
            self._transport.write(encode(kind, stream, payload))

    def forget(self, stream: int) -> None:
        self.ears.pop(stream, None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Template:
    """The template process, from the server's side."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.process = process
        self._control = control
        self._lines: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls, engine: str) -> _Template:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stapes.workers.template", engine, str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        template = cls(process, ours.dup())
        ours.setblocking(False)
        template._lines, template._writer = await asyncio.open_unix_connection(sock=ours)
        return template

    async def read(self, wanted: str) -> dict[str, Any]:
        """The next answer that holds ``wanted``. Raises `EngineError`."""
        while line := await self._lines.readline():
            answer: dict[str, Any] = json.loads(line)
            if wanted in answer:
                return answer
            if "failed" in answer:
                raise EngineError(answer["failed"])
            log.warning("worker ended", **answer)
        raise EngineError("the engine's process ended")

    async def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process id and our end of its socket."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            async with self._turn, asyncio.timeout(FORK_TIMEOUT_S):
                with theirs:
                    socket.send_fds(self._control, [b"F"], [theirs.fileno()])
                answer = await self.read("forked")
        except BaseException:
            ours.close()
            raise
        return answer["forked"], ours

    async def close(self) -> None:
        self._control.close()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        await self.process.wait()


class Pool:
    """Recognisers for as many streams as the server may serve at a time."""

    def __init__(self, engine: str, *, streams: int | None = None, warm: int = 2) -> None:
        self.engine = engine
        self.problem: str | None = "the engine is not loaded yet"
        self.live = 0
        self._streams = streams
        self._warm = warm
        self._capabilities: Capabilities | None = None
        self._template: _Template | None = None
        self._idle: deque[_Link] = deque()
        self._links: set[_Link] = set()
        self.opened = 0  # streams ever opened; the newest one has this number
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling = asyncio.Lock()

    @classmethod
    async def start(cls, engine: str, *, streams: int | None = None, warm: int = 2) -> Pool:
        """Load ``engine`` and keep ``warm`` workers ready. Raises `EngineError`.

        ``streams``: limit of concurrent streams; None: cores / the engine's real-time factor.
        """
        pool = cls(engine, streams=streams, warm=warm)
        await pool._load()
        pool._spawn(pool._supervise())
        return pool

    @property
    def capabilities(self) -> Capabilities:
        """What the loaded engine can do."""
        assert self._capabilities is not None
        return self._capabilities

    @property
    def limit(self) -> int:
        """How many streams may be open at a time."""
        if self._streams is not None:
            return self._streams
        return max(1, int((os.cpu_count() or 1) / self.capabilities.real_time_factor))

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, the template's first."""
        template = [self._template.process.pid] if self._template else []
        return template + [link.pid for link in self._links]

    @property
    def busy_pids(self) -> list[int]:
        """Process ids of the workers that serve a stream."""
        return [link.pid for link in self._links if link.ears]

    async def take(self, params: ListenerParams, post: Post) -> Ear:
        """A recogniser for one stream.

        Raises:
            InvalidParameterError: nothing that is installed fits the parameters.
            ServiceUnavailableError: every stream is in use, or the engine is not running.
        """
        self._check_fit(params)
        if self.live >= self.limit:
            raise ServiceUnavailableError(f"{self.live} of {self.limit} streams are in use")
        self.live += 1
        try:
            return await self._open(params, post)
        except (EngineError, OSError, TimeoutError) as error:
            self.live -= 1
            raise ServiceUnavailableError(f"no worker: {error!r}") from error
        except BaseException:
            self.live -= 1
            raise

    async def close(self) -> None:
        """End every worker and the template, and wait for them."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self._links):
            link.close()
        if self._template is not None:
            await self._template.close()
            self._template = None
        self.problem = "the engine was stopped"

    def _check_fit(self, params: ListenerParams) -> None:
        able, hearing = self.capabilities, params.hearing
        if hearing.model_type != able.model_type:
            raise InvalidParameterError(_not_installed("modelType", hearing.model_type, able))
        if hearing.model_domain not in able.model_domains:
            raise InvalidParameterError(_not_installed("modelDomain", hearing.model_domain, able))
        if hearing.language not in able.languages:
            raise InvalidParameterError(_not_installed("languageCode", hearing.language, able))

    async def _open(self, params: ListenerParams, post: Post) -> Ear:
        link = await self._take_link()
        self.opened += 1
        stream = self.opened
        ear = Ear(link, stream, post, lambda: self._released(link))
        link.ears[stream] = ear
        link.send(Kind.OPEN, stream, encode_params(params))
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await ear.opened
        except BaseException:
            link.forget(stream)
            self._retire(link)
            raise
        return ear

    async def _take_link(self) -> _Link:
        if not self._is_exclusive:
            for link in self._links:
                if len(link.ears) < self.capabilities.streams_per_process:
                    return link
        link = self._idle.popleft() if self._idle else await self._fork()
        self._spawn(self._fill())
        return link

    @property
    def _is_exclusive(self) -> bool:
        return self.capabilities.streams_per_process == 1

    def _released(self, link: _Link) -> None:
        self.live -= 1
        self._retire(link)

    def _retire(self, link: _Link) -> None:
        """A worker that serves one stream ends with it."""
        if self._is_exclusive:
            link.close()

    async def _fork(self) -> _Link:
        if self._template is None:
            raise EngineError("the engine's process is not running")
        pid, connection = await self._template.fork()
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: _Link(pid, self._lost), sock=connection)
        self._links.add(link)
        return link

    def _lost(self, link: _Link) -> None:
        self._links.discard(link)
        with suppress(ValueError):
            self._idle.remove(link)

    async def _fill(self) -> None:
        """Fork until enough workers wait, but no more than streams may still come."""
        async with self._filling:
            while len(self._idle) < min(self._warm, self.limit - self.live):
                try:
                    self._idle.append(await self._fork())
                except (EngineError, OSError, TimeoutError) as error:
                    log.warning("no worker could be made", cause=repr(error))
                    return

    async def _load(self) -> None:
        self._template = await _Template.start(self.engine)
        try:
            ready = (await self._template.read("ready"))["ready"]
        except BaseException:
            await self._template.close()
            self._template = None
            raise
        self._capabilities = _capabilities(ready)
        self.problem = None
        await self._fill()

    async def _supervise(self) -> None:
        """Start the template anew whenever it ends, slower each time that it fails."""
        pause_s = 1.0
        while True:
            if self._template is not None:
                await self._template.process.wait()
                self.problem = "the engine's process ended; it is being started again"
                log.error("engine process ended", code=self._template.process.returncode)
                await self._template.close()
                self._template = None
            await asyncio.sleep(pause_s)
            try:
                await self._load()
                pause_s = 1.0
            except (EngineError, OSError) as error:
                self.problem = f"the engine cannot be loaded: {error}"
                pause_s = min(pause_s * 2, LONGEST_RESTART_PAUSE_S)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _capabilities(ready: dict[str, Any]) -> Capabilities:
    lists = {name: tuple(value) for name, value in ready.items() if isinstance(value, list)}
    return Capabilities(**{**ready, **lists})


def _not_installed(parameter: str, value: str, able: Capabilities) -> str:
    return (
        f"{parameter} {value} is not installed on this server. Installed: modelType "
        f"{able.model_type}, modelDomain {', '.join(able.model_domains)}, languageCode "
        f"{', '.join(able.languages)}."
    )
