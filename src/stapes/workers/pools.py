"""The pools of a server: one for each model that serves, and the way from a stream to its model.

Of the installed models those are loaded that are the best for at least one need: a ``modelType``,
``modelDomain`` and ``languageCode``. To the server the pools are as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import structlog

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import Capabilities, HearingParams
from stapes.errors import EngineError, InvalidParameterError, ServiceUnavailableError
from stapes.models.catalogue import (
    Catalogue,
    Need,
    advice,
    choose,
    needs,
    pull_command,
    ranked,
    read_catalogue,
    suggest,
)
from stapes.models.shelf import InstalledModel
from stapes.protocol.events import Checkpoint
from stapes.workers.pool import Pool
from stapes.workers.replaying import Ear, Post
from stapes.workers.shares import Share, listed, share_out, split
from stapes.workers.watching import Bounds

log = structlog.get_logger("stapes.workers")


class Pools:
    """Recognisers of every model that serves, for as many streams as the cores can hear."""

    def __init__(
        self,
        pools: Mapping[str, Pool],
        routes: Mapping[Need, str],
        catalogue: Catalogue,
        punctuators: Sequence[InstalledModel] = (),
    ) -> None:
        self._pools = pools
        self._routes = routes
        self._catalogue = catalogue
        self._marked = {
            need: marker.name
            for need, name in routes.items()
            if (marker := _marker(need, pools[name], punctuators)) is not None
        }

    @classmethod
    async def start(
        cls,
        models: Iterable[InstalledModel],
        catalogue: Catalogue,
        *,
        streams: int | None = None,
        warm: int = 2,
        bounds: Bounds | None = None,
    ) -> Pools:
        """Load the best of ``models`` for each need, and keep ``warm`` workers of each ready.

        A model that cannot be loaded is logged, and the next best takes its place. Those that set
        marks are loaded beside them. Raises `EngineError` when nothing that hears can be loaded.
        ``streams`` is as in `Pool.start`.
        """
        opening = _Opening(models, catalogue, streams, warm, bounds)
        try:
            routes = await opening.open()
        except BaseException:
            await _close(opening.pools.values())
            raise
        pools = cls(opening.pools, routes, catalogue, opening.punctuators)
        pools.log_shares()
        return pools

    @classmethod
    async def start_one(
        cls,
        engine: str,
        *,
        model: Path | None = None,
        streams: int | None = None,
        warm: int = 2,
        bounds: Bounds | None = None,
        punctuators: Sequence[InstalledModel] = (),
    ) -> Pools:
        """Load one engine, which serves all that it can. Raises `EngineError`.

        ``punctuators`` are loaded beside it, the best first.
        """
        pool = await Pool.start(
            engine,
            model=model,
            streams=streams,
            warm=warm,
            bounds=bounds,
            punctuators=_folders(punctuators),
        )
        able = pool.capabilities
        routes = dict.fromkeys(_needs(able), able.name)
        pools = cls({able.name: pool}, routes, read_catalogue(), punctuators)
        pools.log_shares()
        return pools

    @property
    def shares(self) -> list[Share]:
        """Which model serves what, by name."""
        engines = {name: pool.engine for name, pool in self._pools.items()}
        return share_out(self._routes, engines)

    @property
    def marked(self) -> list[Share]:
        """Which model sets the marks of what, by name."""
        return share_out(self._marked, dict.fromkeys(self._marked.values(), "sherpa"))

    @property
    def limit(self) -> int:
        """How many streams may be open at a time, if all are of the hungriest model."""
        return min(pool.limit for pool in self._pools.values())

    @property
    def live(self) -> int:
        """How many streams are open."""
        return sum(pool.live for pool in self._pools.values())

    @property
    def opened(self) -> int:
        """How many streams were ever opened."""
        return sum(pool.opened for pool in self._pools.values())

    @property
    def problem(self) -> str | None:
        """Why a model that should serve does not; None when all do."""
        problems = ((name, pool.problem) for name, pool in self._pools.items())
        return next((f"{name}: {problem}" for name, problem in problems if problem), None)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers, those of a pool together, its template's first."""
        return [pid for pool in self._pools.values() for pid in pool.worker_pids]

    @property
    def busy_pids(self) -> list[int]:
        """Process ids of the workers that serve a stream."""
        return [pid for pool in self._pools.values() for pid in pool.busy_pids]

    def model_for(self, hearing: HearingParams) -> str:
        """The name of the model that serves a stream.

        Raises `InvalidParameterError`, which names what is installed and how to install more, when
        none does.
        """
        need = Need(hearing.model_type, hearing.model_domain, hearing.language)
        try:
            return self._routes[need]
        except KeyError:
            raise InvalidParameterError(self._refusal(need)) from None

    def takes_phrases(self, hearing: HearingParams) -> bool:
        """Whether the model that serves a stream can be told what to hear rather.

        Raises `InvalidParameterError`, as `model_for` does.
        """
        return self._pools[self.model_for(hearing)].capabilities.bias_phrases

    async def take(
        self, params: ListenerParams, post: Post, checkpoint: Checkpoint | None = None
    ) -> Ear:
        """A recogniser for one stream, of the model that serves it.

        With a ``checkpoint`` of a stream with these parameters, it goes on from there.

        Raises:
            InvalidParameterError: nothing that is installed fits the parameters.
            ServiceUnavailableError: the cores have enough to hear, or the engine is not running.
        """
        pool = self._pools[self.model_for(params.hearing)]
        used = [(each.live, each.limit) for each in self._pools.values() if each.live]
        if sum(live / limit for live, limit in used) + 1 / pool.limit > 1 + 1e-9:
            raise ServiceUnavailableError(f"all is in use: {used} streams of so many")
        return await pool.take(params, post, checkpoint)

    def advice(self) -> str | None:
        """One line on how to hear better, when nothing but PocketSphinx hears; else None."""
        return advice({share.engine for share in self.shares}, self._catalogue)

    async def close(self) -> None:
        """End every worker and template, and wait for them."""
        await _close(self._pools.values())

    def log_shares(self) -> None:
        """Say which model serves what."""
        told = [("hears", share) for share in self.shares]
        for event, share in [*told, *(("punctuates", share) for share in self.marked)]:
            log.info(
                event,
                model=share.model,
                engine=share.engine,
                model_type=share.model_type,
                domains=" ".join(share.domains),
                languages=listed(share.languages, " "),
            )

    def _refusal(self, need: Need) -> str:
        """Which parameter nothing fits, what is installed, and what would install it."""
        better = suggest(self._catalogue, need)
        way = f" To install it on the server: {pull_command(better)}" if better else ""
        return f"{self._misfit(need)} is not installed on this server. {self._installed()}.{way}"

    def _misfit(self, need: Need) -> str:
        of_type = [route for route in self._routes if route.model_type == need.model_type]
        if not of_type:
            return f"modelType {need.model_type}"
        if all(route.domain != need.domain for route in of_type):
            return f"modelDomain {need.domain}"
        return f"languageCode {need.language}"

    def _installed(self) -> str:
        """The needs that are served, whichever model does."""
        by_type = groupby(sorted(self._routes), key=lambda need: need.model_type)
        parts = []
        for model_type, served in by_type:
            domains, languages = split(served)
            parts.append(
                f"modelType {model_type}, modelDomain {', '.join(domains)}, "
                f"languageCode {listed(languages, ', ')}"
            )
        return f"Installed: {'; '.join(parts)}"


class _Opening:
    """Loads models until the best of those that can be loaded serve."""

    def __init__(
        self,
        models: Iterable[InstalledModel],
        catalogue: Catalogue,
        streams: int | None,
        warm: int,
        bounds: Bounds | None,
    ) -> None:
        self.pools: dict[str, Pool] = {}
        given = list(models)
        self.punctuators = rank_punctuators(given, catalogue)
        self._models = {model.name: model for model in given if model.row.hears}
        self._serving = {model.name: model.row.needs for model in self._models.values()}
        self._catalogue = catalogue
        self._streams = streams
        self._warm = warm
        self._bounds = bounds

    async def open(self) -> dict[Need, str]:
        """Load; return which model serves which need. Raises `EngineError`."""
        routes = choose(self._serving, self._catalogue)
        while wanted := set(routes.values()) - set(self.pools):
            await asyncio.gather(*map(self._load, sorted(wanted)))
            routes = choose(self._serving, self._catalogue)
        if not routes:
            raise EngineError("no model can be loaded; the log says why")
        unneeded = [self.pools.pop(name) for name in set(self.pools) - set(routes.values())]
        await _close(unneeded)
        return routes

    async def _load(self, name: str) -> None:
        """Load a model; from then on it serves what it really can, or nothing."""
        model = self._models[name]
        try:
            pool = await Pool.start(
                model.row.engine,
                model=model.folder,
                streams=self._streams,
                warm=self._warm,
                bounds=self._bounds,
                punctuators=_folders(
                    each for each in self.punctuators if each.row.needs & model.row.needs
                ),
            )
        except (EngineError, OSError) as error:
            log.error("model cannot be loaded", model=name, cause=str(error))
            del self._serving[name]
        else:
            self.pools[name] = pool
            self._serving[name] &= _needs(pool.capabilities)
            if not self._serving[name]:
                cause = "it knows none of what its row says that it serves"
                log.error("model serves nothing", model=name, cause=cause)


def rank_punctuators(
    models: Iterable[InstalledModel], catalogue: Catalogue
) -> list[InstalledModel]:
    """Those of ``models`` that set marks, the better ones first."""
    found = {model.name: model for model in models if not model.row.hears}
    return [found[name] for name in ranked(found, catalogue)]


def _marker(need: Need, pool: Pool, punctuators: Iterable[InstalledModel]) -> InstalledModel | None:
    """What sets the marks where a stream needs this; None where the engine or nothing does."""
    if pool.capabilities.punctuation:
        return None
    loaded = (each for each in punctuators if each.name in pool.punctuators)
    return next((each for each in loaded if need in each.row.needs), None)


def _folders(models: Iterable[InstalledModel]) -> list[Path]:
    return [model.folder for model in models if model.folder is not None]


async def _close(pools: Iterable[Pool]) -> None:
    await asyncio.gather(*(pool.close() for pool in pools))


def _needs(able: Capabilities) -> frozenset[Need]:
    return needs(able.model_type, able.model_domains, able.languages)
