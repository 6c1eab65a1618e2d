"""Connections that stall and do not break: nothing is heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

import stapes
from stapes import Final, RealtimeSessionToken
from stapes.client.profile import read_profile
from tests.conftest import Served, running_server
from tests.faults.conftest import PARAMETERS, bounded, heard, warm
from tests.faults.proxy import Fault, proxy

pytestmark = pytest.mark.usefixtures("left_clean")

QUERY = "finalSilenceThresholdInMs=500"
STALL_S = 2.5
"""Longer than the threshold and the second that the wall clock waits, shorter than a ping may."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory, demo: bytes) -> Iterator[Served]:
    """A warmed server with pings as they are: no connection is given up here."""
    with running_server(tmp_path_factory.mktemp("stalls") / "home") as server:
        warm(demo, server)
        yield server


@pytest.mark.parametrize("at_byte", [50_000, 120_000, 180_000, 250_000, 330_000])
async def test_audio_that_is_held_up_ends_no_utterance(
    faulty: Served, demo: bytes, expected: list[Final], at_byte: int
) -> None:
    """Wherever in speech or pause it stops for a while, words and times are the same."""
    async with proxy(faulty.url, Fault("delay", at_byte, delay_s=STALL_S)) as passing:
        finals = await bounded(heard(demo, faulty, passing.url))
        assert (len(passing.happened), passing.connections) == (1, 1)
    assert finals == expected


async def test_a_client_that_sends_no_more_gets_its_final(faulty: Served, demo: bytes) -> None:
    """Its pong says that nothing is on its way."""
    profile = read_profile(faulty.home.config_file)
    async with stapes.connect(faulty.url, profile=profile, parameters=PARAMETERS) as session:
        await session.send(demo[:50_000])
        results = (it async for it in session)
        while not isinstance(await bounded(anext(results)), Final):
            pass


async def test_the_first_socket_of_a_stream_that_goes_on_at_another_is_closed(
    faulty: Served, peer: Any, mint: Callable[..., RealtimeSessionToken], demo: bytes
) -> None:
    """Nothing comes through it any more, no close either, and the server does not wait for one."""
    token = mint(faulty)
    extended = {"subprotocols": ["stapes.v1"]}
    async with peer(faulty.ws_url, QUERY, **extended) as first:
        await first.authenticate(token)
        await first.send_audio(demo[:64_000])
        port = first.socket.local_address[1]
        first.socket.transport.pause_reading()
        assert port in ports(faulty)
        resume = f"{QUERY}&resume={quote(token.session_id)}&lastResult=0"
        async with peer(faulty.ws_url, resume, **extended) as second:
            connect = await bounded(second.authenticate(token))
            assert connect["event"] == "CONNECT"
            await bounded(_until_closed(faulty, port))
            await second.send_json(event="SEND_FINAL_RESULT")
            assert await bounded(second.read_final())


def ports(server: Served) -> set[int]:
    """From which ports there are connections to a server, as it sees them."""
    own = urlsplit(server.url).port
    connections = psutil.Process().net_connections("tcp")
    return {it.raddr.port for it in connections if it.laddr.port == own and it.raddr}


async def _until_closed(server: Served, port: int) -> None:
    while port in ports(server):
        await asyncio.sleep(0.05)
