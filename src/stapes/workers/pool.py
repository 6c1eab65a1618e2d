"""The pool of worker processes, as the server sees it.

An engine is loaded once, by the template process; workers are forked from that. Where an engine
serves one stream a process, each stream gets a fresh process and takes it along when it ends: what
one stream did cannot reach the next.

A worker may die at any time, or has to be ended when it hangs or takes too much memory; its streams
then go on in others (`stapes.workers.replaying`). Of the streams of a worker that died, each goes
on among others that did not lose theirs: if one of them is what kills workers, no other one is ever
taken for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import Capabilities
from stapes.errors import EngineError, ServiceUnavailableError
from stapes.protocol.events import Checkpoint
from stapes.workers.cores import cores
from stapes.workers.links import Line, Link, Owner
from stapes.workers.replaying import Ear, Post
from stapes.workers.spawning import Template
from stapes.workers.watching import Bounds, kill, resident_bytes

log = structlog.get_logger("stapes.workers")

OPEN_TIMEOUT_S = 10.0
LONGEST_RESTART_PAUSE_S = 30.0


class Pool:
    """Recognisers of one engine, for as many streams as the server may serve at a time."""

    def __init__(
        self,
        engine: str,
        *,
        model: Path | None = None,
        streams: int | None = None,
        warm: int = 2,
        bounds: Bounds | None = None,
        punctuators: Sequence[Path] = (),
    ) -> None:
        self.engine = engine
        self.punctuators: tuple[str, ...] = ()  # the names of those that are loaded
        self._model = model
        self._punctuators = punctuators
        self.problem: str | None = "the engine is not loaded yet"
        self.live = 0
        self._streams = streams
        self._warm = warm
        self._bounds = bounds or Bounds()
        self.is_closed = False
        self.replays = asyncio.Semaphore(cores())
        self._capabilities: Capabilities | None = None
        self._template: Template | None = None
        self._idle: deque[Link] = deque()
        self._links: set[Link] = set()
        self.opened = 0  # streams ever opened; the newest one has this number
        self._tasks: set[asyncio.Task[None]] = set()
        self._filling = asyncio.Lock()

    @classmethod
    async def start(
        cls,
        engine: str,
        *,
        model: Path | None = None,
        streams: int | None = None,
        warm: int = 2,
        bounds: Bounds | None = None,
        punctuators: Sequence[Path] = (),
    ) -> Pool:
        """Load ``engine`` and keep ``warm`` workers ready. Raises `EngineError`.

        ``model``: folder of the engine's model, for engines that bring none.
        ``streams``: limit of concurrent streams; None: cores / the engine's real-time factor.
        ``bounds``: what a worker may take before it is ended.
        ``punctuators``: folders of models that set marks, the best first; one that cannot be
        loaded is logged, and the pool does without.
        """
        pool = cls(
            engine,
            model=model,
            streams=streams,
            warm=warm,
            bounds=bounds,
            punctuators=punctuators,
        )
        await pool._load()
        pool.spawn(pool._supervise())
        pool.spawn(pool._watch())
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
        return max(1, int(cores() / self.capabilities.real_time_factor))

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, the template's first."""
        template = [self._template.process.pid] if self._template else []
        return template + [link.pid for link in self._links]

    @property
    def busy_pids(self) -> list[int]:
        """Process ids of the workers that serve a stream."""
        return [link.pid for link in self._links if link.lines]

    async def take(
        self, params: ListenerParams, post: Post, checkpoint: Checkpoint | None = None
    ) -> Ear:
        """A recogniser for one stream, whose parameters have to fit the capabilities.

        With a ``checkpoint`` of a stream with these parameters, it goes on from there.

        Raises `ServiceUnavailableError` when every stream is in use, or the engine is not running.
        """
        if self.live >= self.limit:
            raise ServiceUnavailableError(f"{self.live} of {self.limit} streams are in use")
        self.live += 1
        ear = Ear(self, params, post, checkpoint)
        try:
            await ear.open()
        except (EngineError, OSError, TimeoutError) as error:
            self.live -= 1
            raise ServiceUnavailableError(f"no worker: {error!r}") from error
        except BaseException:
            self.live -= 1
            raise
        return ear

    async def connect(self, owner: Owner, opening: bytes) -> Line:
        """A recogniser that is ready. Raises `EngineError`, `OSError`, `TimeoutError`."""
        link = await self._take_link(owner)
        self.opened += 1
        line = link.open(self.opened, owner, opening)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await line.opened
        except BaseException:
            self.disconnect(line)
            raise
        return line

    def disconnect(self, line: Line) -> None:
        """Let go of a recogniser; a worker that serves one stream ends with it."""
        line.close()
        empty = [link for link in self._links if not link.lines and not link.leaving]
        if self._is_exclusive or (line.link in empty and len(empty) > self._warm):
            line.link.dismiss()

    def give_back(self) -> None:
        """A stream has ended: another one may come."""
        self.live -= 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the streams, until the pool is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every worker and the template, and wait for them."""
        self.is_closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self._links):
            kill(link)  # it may hang, and nothing that it knows is wanted any more
            link.close()
        if self._template is not None:
            await self._template.close()
            self._template = None
        self.problem = "the engine was stopped"

    async def _take_link(self, owner: Owner) -> Link:
        if not self._is_exclusive:
            return self._fullest(owner) or await self._fork()
        link = self._idle.popleft() if self._idle else await self._fork()
        self.spawn(self._fill())
        return link

    def _fullest(self, owner: Owner) -> Link | None:
        """The worker with most streams that has room: together they cost less than apart.

        Two of which a worker died are kept apart.
        """
        most = self.capabilities.streams_per_process
        roomy = (
            link
            for link in self._links
            if len(link.lines) < most
            and not link.leaving
            and not (owner.is_suspect and link.has_suspect)
        )
        return max(roomy, key=lambda link: len(link.lines), default=None)

    @property
    def _is_exclusive(self) -> bool:
        return self.capabilities.streams_per_process == 1

    async def _fork(self) -> Link:
        if self._template is None or self.is_closed:
            raise EngineError("the engine's process is not running")
        pid, connection = await self._template.fork()
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(
            lambda: Link(pid, resident_bytes(pid), self._lost), sock=connection
        )
        self._links.add(link)
        return link

    def _lost(self, link: Link) -> None:
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
        template = await Template.start(self.engine, self._model, self._punctuators)
        try:
            told = await template.read("ready")
        except BaseException:
            await template.close()
            raise
        self._template = template  # from here on it can be asked for workers
        self._capabilities = _capabilities(told["ready"])
        self._bounds = self._bounds.fitting(self._capabilities)
        self.punctuators = tuple(Path(folder).name for folder in told["punctuators"])
        for folder, cause in told["faults"].items():
            log.error("model cannot be loaded", model=Path(folder).name, cause=cause)
        self.problem = None
        await self._fill()

    async def _watch(self) -> None:
        """End workers that cannot go on; their streams go on in others."""
        while True:
            await asyncio.sleep(self._bounds.interval_s)
            for link in list(self._links):
                if trouble := self._bounds.trouble(link):
                    log.error("worker killed", pid=link.pid, cause=trouble)
                    kill(link)

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


def _capabilities(ready: dict[str, Any]) -> Capabilities:
    lists = {name: tuple(value) for name, value in ready.items() if isinstance(value, list)}
    return Capabilities(**{**ready, **lists})
