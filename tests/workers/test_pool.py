"""The pool of worker processes: capacity, isolation, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from stapes import samples
from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.errors import (
    EngineError,
    ServiceUnavailableError,
)
from stapes.protocol.events import AudioHeard, Event, PartialArrived, UtteranceArrived
from stapes.workers.cores import cores
from stapes.workers.pool import Pool
from stapes.workers.replaying import Ear
from tests.engines.models import TONES
from tests.waiting import PATIENCE_S, is_running, until

PARAMS = ListenerParams("audio/raw;rate=16000", HearingParams(), 0, 2000)


@asynccontextmanager
async def running(engine: str = "scripted", **options: Any) -> AsyncIterator[Pool]:
    """A pool that leaves no process behind."""
    pool = await Pool.start(engine, **options)
    try:
        yield pool
    finally:
        pids = pool.worker_pids
        await pool.close()
        await until(lambda: not any(is_running(pid) for pid in pids))


class Inbox:
    """Keeps what an ear posts."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def post(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, is_it: Callable[[Event], bool]) -> Event:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := next(filter(is_it, self.events), None)):
                self._changed.clear()
                await self._changed.wait()
        return found


def is_answer(event: Event) -> bool:
    return isinstance(event, UtteranceArrived) and event.is_answer


def speech() -> bytes:
    with wave.open(str(samples.load("short").path)) as file:
        frames: bytes = file.readframes(file.getnframes())
    return frames


async def hear(ear: Ear, inbox: Inbox, audio: bytes) -> str:
    ear.feed(audio)
    ear.flush()
    answer = await inbox.until(is_answer)
    assert isinstance(answer, UtteranceArrived)
    return " ".join(word.text for word in answer.heard.words)


@pytest.mark.parametrize("engine", ["scripted", "pocketsphinx"])
async def test_an_ear_hears_and_accounts_for_every_byte(engine: str) -> None:
    """Partials, the answer to the flush, and then all audio is heard."""
    async with running(engine) as pool:
        inbox = Inbox()
        ear = await pool.take(PARAMS, inbox.post)
        assert await hear(ear, inbox, speech())
        ear.release()
    assert any(isinstance(event, PartialArrived) for event in inbox.events)
    heard = [event for event in inbox.events if isinstance(event, AudioHeard)]
    assert sum(event.audio_bytes for event in heard) == len(speech())
    assert sum(event.speech_ms for event in heard) > 1000


async def test_streams_beyond_the_limit_are_refused_until_one_ends() -> None:
    """A place that is given back can be taken again."""
    async with running(streams=1) as pool:
        ear = await pool.take(PARAMS, Inbox().post)
        with pytest.raises(ServiceUnavailableError):
            await pool.take(PARAMS, Inbox().post)
        ear.release()
        ear.release()
        assert pool.live == 0
        (await pool.take(PARAMS, Inbox().post)).release()


async def test_a_process_serves_one_stream_and_ends_with_it() -> None:
    """Nothing of one stream is left for the next one."""
    async with running("pocketsphinx") as pool:
        pids = []
        for _ in range(2):
            ear = await pool.take(PARAMS, Inbox().post)
            pids += pool.busy_pids
            ear.release()
        assert len(set(pids)) == 2
        await until(lambda: not any(is_running(pid) for pid in pids))


async def test_an_engine_of_many_streams_shares_a_process() -> None:
    """And the streams do not mix."""
    async with running(streams=8, warm=1) as pool:
        inboxes = [Inbox() for _ in range(4)]
        ears = [await pool.take(PARAMS, inbox.post) for inbox in inboxes]
        assert len(pool.busy_pids) == 1
        texts = [
            await hear(ear, inbox, speech()[: len(speech()) // part])
            for part, (ear, inbox) in enumerate(zip(ears, inboxes, strict=True), start=1)
        ]
        for ear in ears:
            ear.release()
    assert len(set(texts)) == 4
    assert all(texts[0].startswith(text) for text in texts)


async def test_a_full_process_takes_no_more() -> None:
    """Each is filled before the next one, and none takes more than the engine says."""
    async with running("sherpa", model=TONES, streams=12, warm=1) as pool:
        most = pool.capabilities.streams_per_process
        ears = [await pool.take(PARAMS, Inbox().post) for _ in range(2 * most + 1)]
        assert len(pool.busy_pids) == 3
        for ear in ears[:most]:
            ear.release()
        assert len(pool.busy_pids) == 2
        ears[:most] = [await pool.take(PARAMS, Inbox().post) for _ in range(most)]
        assert len(pool.busy_pids) == 3
        assert most == 5


async def test_a_killed_template_is_started_again() -> None:
    """Streams can then be taken as before."""
    async with running(warm=1) as pool:
        template = pool.worker_pids[0]
        os.kill(template, signal.SIGKILL)
        await until(lambda: pool.worker_pids[:1] not in ([], [template]) and not pool.problem)
        assert pool.worker_pids[0] != template
        (await pool.take(PARAMS, Inbox().post)).release()


async def test_an_engine_that_does_not_exist_is_an_error() -> None:
    """It names those there are."""
    with pytest.raises(EngineError, match="scripted"):
        await Pool.start("nonesuch")


async def test_the_default_limit_comes_from_the_cores() -> None:
    """Cores over the engine's real-time factor."""
    async with running() as pool:
        assert pool.limit == int(cores() / pool.capabilities.real_time_factor)


async def test_workers_do_not_have_the_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that is about to take its place; the rest of the environment they have."""
    for name in ("STAPES_MASTER_KEY", "STAPES_NEW_MASTER_KEY", "STAPES_SOMETHING"):
        monkeypatch.setenv(name, "a value of some length")
    async with running() as pool:
        environments = [psutil.Process(pid).environ() for pid in pool.worker_pids]
    assert len(environments) > 1
    for environment in environments:
        assert {name for name in environment if name.startswith("STAPES_")} == {"STAPES_SOMETHING"}


def _takes_large_pages(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "THP_enabled:\t1" in status.read_text()


async def test_what_is_loaded_lies_in_large_pages_and_what_a_worker_adds_does_not() -> None:
    """The first is shared; of the second no more than what is used is to be there.

    A system without such pages has them in neither.
    """
    async with running(warm=1) as pool:
        template, worker = pool.worker_pids
        environment = psutil.Process(template).environ()
        assert environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
        assert _takes_large_pages(template) is _takes_large_pages(os.getpid())
        await until(lambda: not _takes_large_pages(worker))
