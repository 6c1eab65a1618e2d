"""A server that is out of file descriptors: what runs goes on, what is new waits or fails."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest

import stapes
from bench.instances import Instance, instances
from stapes.client.profile import Profile
from tests.faults.conftest import PARAMETERS, bounded
from tests.waiting import PATIENCE_S

SPARE = 6


@pytest.fixture
def instance() -> Iterator[tuple[Instance, Profile]]:
    with instances(1, {"STAPES_ENGINE": "scripted"}) as (servers, profile):
        yield servers[0], profile


async def play(instance: Instance, profile: Profile, audio: bytes) -> str:
    async with stapes.connect(instance.url, profile=profile, parameters=PARAMETERS) as session:
        await session.send(audio)
        await session.finish()
    return session.transcript


async def test_a_running_session_goes_on_and_new_ones_come_when_there_is_room(
    instance: tuple[Instance, Profile], demo: bytes
) -> None:
    """Connections beyond the limit get no answer; none of them ends the server."""
    server, profile = instance
    text = await bounded(play(server, profile, demo))
    place = urlsplit(server.url)
    async with stapes.connect(server.url, profile=profile, parameters=PARAMETERS) as running:
        await running.send(demo[:64_000])
        await running.drain()
        process: psutil.Process = server.process
        most = process.num_fds() + SPARE
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (most, most))
        crowd = [socket.create_connection((place.hostname, place.port)) for _ in range(3 * SPARE)]
        await running.send(demo[64_000:])
        await bounded(running.finish())
        assert running.transcript == text
        for each in crowd:
            each.close()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                assert await play(server, profile, demo) == text
                break
            except stapes.ClientError:
                await asyncio.sleep(0.2)
