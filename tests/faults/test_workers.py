"""Worker processes that are killed, hang or are poisoned: nobody else hears anything of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import stapes
from stapes import Final, RealtimeSessionToken
from stapes.client.profile import read_profile
from stapes.engines.scripted import POISON
from tests.conftest import Served, running_server
from tests.faults.conftest import CHUNK_BYTES, PARAMETERS, PATIENT, bounded, heard, warm
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("left_clean")

PLACES = (20_000, 130_000, 250_000)
"""Bytes of the sample: in its first words, and in the midst of others."""

OURS_TO_BLAME = (500, 1011)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, demo: bytes) -> Iterator[Served]:
    """A warmed server that keeps one worker, and waits two seconds for one that says nothing."""
    home = tmp_path_factory.mktemp("workers") / "home"
    with running_server(home, worker_timeout_s=2.0, warm_workers=1) as server:
        warm(demo, server)
        yield server


async def heard_while(
    audio: bytes, server: Served, happenings: dict[int, Callable[[], None]]
) -> list[Final]:
    """The finals of a session to which something happens at some of its bytes."""
    profile = read_profile(server.home.config_file)
    async with stapes.connect(
        server.url, profile=profile, parameters=PARAMETERS, reconnect=PATIENT
    ) as session:
        for at in range(0, len(audio), CHUNK_BYTES):
            await session.send(audio[at : at + CHUNK_BYTES])
            await session.drain()
            for place in [it for it in happenings if at <= it < at + CHUNK_BYTES]:
                await until(lambda: has_recovered(server))
                happenings[place]()
        await session.finish()
    return list(session.finals)


def has_recovered(server: Served) -> bool:
    """Whether every stream has come beyond the place where its last worker died."""
    pools = server.deployment.pool._pools.values()
    links = [link for pool in pools for link in list(pool._links) if link.lines]
    return bool(links) and not any(link.has_suspect for link in links)


def signalling(server: Served, number: int) -> Callable[[], None]:
    """Sends a signal to every worker that hears a stream."""

    def send() -> None:
        for pid in server.deployment.pool.busy_pids:
            os.kill(pid, number)

    return send


async def killed_together(audio: bytes, server: Served) -> list[list[Final]]:
    """What eight sessions hear whose workers are all killed at once."""
    kill = signalling(server, signal.SIGKILL)
    first = heard_while(audio, server, {PLACES[1]: kill})
    others = (heard(audio, server, server.url) for _ in range(7))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bounded(each)) for each in (first, *others)]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("at_byte", PLACES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
async def test_a_worker_that_is_killed_or_hangs_changes_no_word_and_no_time(
    faulty: Served, demo: bytes, expected: list[Final], number: int, at_byte: int
) -> None:
    """In the midst of an utterance; the client sees nothing but a pause."""
    finals = await bounded(heard_while(demo, faulty, {at_byte: signalling(faulty, number)}))
    assert finals == expected


async def test_workers_that_are_killed_one_after_the_other_change_no_word_and_no_time(
    faulty: Served, demo: bytes, expected: list[Final]
) -> None:
    """As long as a stream comes on between them."""
    kill = signalling(faulty, signal.SIGKILL)
    finals = await bounded(heard_while(demo, faulty, dict.fromkeys(PLACES, kill)))
    assert finals == expected


async def test_all_workers_at_once(faulty: Served, demo: bytes, expected: list[Final]) -> None:
    """Each stream goes on with its own words."""
    assert await killed_together(demo, faulty) == [expected] * 8


async def test_a_stream_that_kills_two_workers_is_ended_and_the_others_never_notice(
    faulty: Served,
    demo: bytes,
    expected: list[Final],
    peer: Any,
    mint: Callable[..., RealtimeSessionToken],
) -> None:
    """ERROR 500 and 1011 for the one; the words and times of the others are as ever."""
    async with asyncio.TaskGroup() as group:
        others = [group.create_task(bounded(heard(demo, faulty, faulty.url))) for _ in range(4)]
        async with peer(faulty.ws_url, "finalSilenceThresholdInMs=500") as poisoned:
            await poisoned.authenticate(mint(faulty))
            at = PLACES[1]
            await poisoned.send_audio(demo[:at] + POISON * 2 + demo[at:])
            assert await bounded(poisoned.read_to_close()) == OURS_TO_BLAME
    assert all(other.result() == expected for other in others)
