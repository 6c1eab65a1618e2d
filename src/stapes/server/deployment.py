"""What one server process has, opened once and handed to every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from stapes.errors import HomeError, ServiceUnavailableError, StoreError
from stapes.models.catalogue import read_catalogue
from stapes.models.shelf import only, read_shelf
from stapes.server.home import Home, open_home
from stapes.server.known import Known, keep_known, read_known
from stapes.server.live import LiveSessions
from stapes.server.metrics import Metrics
from stapes.server.quotas import Quotas
from stapes.server.retries import CAPACITY, REMEMBERED_FOR, RetryMemory
from stapes.settings import Settings
from stapes.store.port import Contest, Store
from stapes.store.sql import open_store
from stapes.store.writer import Writer
from stapes.tokens.keys import SigningKey
from stapes.workers.pools import Pools, rank_punctuators
from stapes.workers.watching import Bounds

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Deployment:
    """One server's settings, keys, records, recognisers and live sessions.

    Attributes:
        server_id: names this process among those that share the database.
        known: what of the store is known by heart, as of the last look.
        store_problem: why the store cannot be looked at; None when all is well.
        live: the sessions whose socket is open.
        looking: held while the store is looked at.
        metrics: what is counted for ``/metrics``.
        contested: streams that another server wants, while their peers are asked.
        draining: the server is stopping; nothing new may begin.
    """

    settings: Settings
    home: Home
    store: Store
    writer: Writer
    pool: Pools
    known: Known
    retries: RetryMemory
    quotas: Quotas
    server_id: str = field(default_factory=lambda: uuid4().hex)
    live: LiveSessions = field(default_factory=LiveSessions)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    metrics: Metrics = field(default_factory=Metrics)
    store_problem: str | None = None
    contested: set[Contest] = field(default_factory=set)
    draining: bool = False
    _begun: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Do something beside the requests; it is waited for before the deployment closes."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def finish(self) -> None:
        """Wait for what was begun."""
        await asyncio.gather(*self._begun)

    def signing_key(self, now: datetime) -> SigningKey:
        """The key for new tokens and receipts.

        Raises `ServiceUnavailableError` when none is at hand: the home has to be given the keys
        that another server of the database made.
        """
        key = self.known.keyring.signing(now)
        if key is None:
            public = "No token can be signed right now; try again later."
            raise ServiceUnavailableError("no signing key at hand", public=public)
        return key

    async def drain(self) -> None:
        """Let live sessions go on for ``drain_window_s``, then end them; nothing new begins.

        Their last words are waited for ``drain_timeout_s`` at the longest.
        """
        self.draining = True
        window_s = self.settings.drain_window_s
        if self.settings.keep_transcripts_days != 0:  # else nobody else could go on with them
            self.live.send_away(window_s)
        try:
            async with asyncio.timeout(window_s + self.settings.drain_timeout_s):
                await self.live.drain(window_s)
        except TimeoutError:
            log.warning("drain_timed_out", live=len(self.live))


@asynccontextmanager
async def open_deployment(settings: Settings) -> AsyncIterator[Deployment]:
    """Open everything that a server needs, and close it at the end.

    Raises `stapes.errors.HomeError`, `stapes.errors.StoreError`, `stapes.errors.EngineError`,
    `stapes.errors.ModelError`.
    """
    home = open_home(settings.home, master_key=settings.master_key, database=settings.database)
    async with AsyncExitStack() as stack:
        store = open_store(home.database)
        stack.callback(store.close)
        now = datetime.now(UTC)
        known = read_known(store, home, now)
        if known.keyring.signing(now) is None:
            raise HomeError(
                "the home and the database share no token-signing key; restore both together, or "
                "run `stapes keys replace`"
            )
        retries = RetryMemory(store.retried_since(now - REMEMBERED_FOR, most=CAPACITY))
        pool = await open_pools(settings)
        stack.push_async_callback(pool.close)
        writer = Writer(store)
        stack.push_async_callback(_close_writer, writer)
        deployment = Deployment(
            settings=settings,
            home=home,
            store=store,
            writer=writer,
            pool=pool,
            known=known,
            retries=retries,
            quotas=Quotas(settings),
        )
        store.beat(deployment.server_id, now)
        looking = asyncio.create_task(keep_known(deployment))
        stack.push_async_callback(_cancel, looking)
        stack.push_async_callback(deployment.finish)
        yield deployment


async def open_pools(settings: Settings) -> Pools:
    """The engine of the settings, or its one model, or else the best installed for each need.

    Raises `stapes.errors.EngineError`, `stapes.errors.ModelError`.
    """
    bounds = Bounds(settings.worker_timeout_s, settings.worker_memory_mb)
    catalogue = read_catalogue(settings.home)
    shelf = read_shelf(settings.shelf, catalogue)
    for fault in shelf.faults:
        log.error("model_unreadable", cause=fault)
    if settings.engine is not None:
        return await Pools.start_one(
            settings.engine,
            model=settings.model,
            streams=settings.streams,
            warm=settings.warm_workers,
            bounds=bounds,
            punctuators=rank_punctuators(shelf.models.values(), catalogue),
        )
    return await Pools.start(
        shelf.models.values() if settings.model is None else only(str(settings.model), shelf),
        catalogue,
        streams=settings.streams,
        warm=settings.warm_workers,
        bounds=bounds,
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _close_writer(writer: Writer) -> None:
    try:
        await asyncio.to_thread(writer.close)
    except StoreError as error:
        log.error("records_lost", cause=str(error))
