"""More of everything than anybody may have; who is served already does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from itertools import count
from typing import Any

import httpx
import pytest

from stapes import RealtimeSessionToken
from stapes.store.sql import open_store
from tests.attacks.forging import minted
from tests.attacks.people import Someone, ask, someone
from tests.attacks.requests import PATH
from tests.attacks.sockets import (
    NOT_AUTHENTICATED,
    OPENED,
    TOO_MANY,
    opened,
    presenting,
    say,
    show,
    show_text,
    untouched,
)
from tests.conftest import Served, running_server
from tests.scenarios.conftest import Peer, peer
from tests.waiting import PATIENCE_S, until, wait_until

FAILURES = 10
WAITING_OF_ONE = 8
WAITING_IN_ALL = 20
LIVE = 4
TOKENS = 25
_ADDRESSES = (f"127.0.1.{number}" for number in count(1))


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with small quotas."""
    quotas = {
        "authentication_timeout_s": 600,  # no socket is to go by itself while others are opened
        "failed_authentications_per_minute": FAILURES,
        "unauthenticated_sockets_per_address": WAITING_OF_ONE,
        "unauthenticated_sockets": WAITING_IN_ALL,
        "live_sessions_per_tenancy": LIVE,
        "tokens_per_minute_per_user": TOKENS,
    }
    with running_server(tmp_path_factory.mktemp("besieged") / "home", **quotas) as server:
        yield server


@pytest.fixture(scope="module")
def good(besieged: Served) -> RealtimeSessionToken:
    """A token that stays good."""
    return minted(besieged)


@pytest.fixture
def address() -> str:
    """An address of loopback that no other test has."""
    return next(_ADDRESSES)


def come_from(address: str) -> dict[str, Any]:
    return {"local_addr": (address, 0)}


@asynccontextmanager
async def undisturbed(server: Served) -> AsyncIterator[None]:
    """A session of another address hears on through the block and after it."""
    async with peer(server.ws_url, **come_from(next(_ADDRESSES))) as client:
        await opened(client, minted(server))
        await _answers(client)
        yield
        await _answers(client)
    await _until_ended(server)


async def _answers(client: Peer) -> None:
    await client.send_audio(bytes(3200))
    await client.send_json(event="SEND_FINAL_RESULT")
    assert await client.read_final()


async def _until_ended(server: Served, live: int = 0) -> None:
    await until(lambda: len(server.deployment.live) <= live)


async def test_failed_authentications_on_the_socket(
    besieged: Served, good: RealtimeSessionToken, address: str
) -> None:
    """429 for all that comes from the address then, a good token among it, and not elsewhere."""
    async with undisturbed(besieged):
        with untouched(besieged):
            for _ in range(FAILURES):
                answer = await show_text(besieged, "x", **come_from(address))
                assert answer == NOT_AUTHENTICATED
            assert await show_text(besieged, "x", **come_from(address)) == TOO_MANY
            assert await show(besieged, good, **come_from(address)) == TOO_MANY
        assert await show(besieged, good, **come_from(next(_ADDRESSES))) == OPENED


async def test_failed_authentications_over_rest(
    besieged: Served, good: RealtimeSessionToken, address: str
) -> None:
    """With retry-after; no header makes one address look like another; sockets count with them."""
    transport = httpx.HTTPTransport(local_address=address)
    async with undisturbed(besieged):
        with httpx.Client(transport=transport, trust_env=False) as client:
            for number in range(FAILURES + 3):
                pretended = f"10.0.0.{number}"
                headers = {
                    "authorization": "Bearer x",
                    "x-forwarded-for": pretended,
                    "x-real-ip": pretended,
                    "forwarded": f"for={pretended}",
                }
                answer = await asyncio.to_thread(
                    client.post, besieged.url + PATH, headers=headers, content=b"{}"
                )
                expected = 401 if number < FAILURES else 429
                assert answer.status_code == expected
            assert answer.json()["code"] == "TooManyRequests"
            assert 1 <= int(answer.headers["retry-after"]) <= 61
        with untouched(besieged):
            assert await show(besieged, good, **come_from(address)) == TOO_MANY
    assert besieged.deployment.quotas.refused["FailedAuthenticationsError"] >= 3


async def test_unauthenticated_sockets_of_an_address(
    besieged: Served, good: RealtimeSessionToken, address: str
) -> None:
    """One too many is told so at once; the address has its places back when they are left."""
    async with undisturbed(besieged):
        async with AsyncExitStack() as stack:
            for _ in range(WAITING_OF_ONE):
                await stack.enter_async_context(peer(besieged.ws_url, **come_from(address)))
            async with peer(besieged.ws_url, **come_from(address)) as client:
                assert await client.read_to_close() == TOO_MANY
            assert await show(besieged, good, **come_from(next(_ADDRESSES))) == OPENED
        async with asyncio.timeout(PATIENCE_S):
            while await show(besieged, good, **come_from(address)) != OPENED:
                await asyncio.sleep(0.01)


async def test_unauthenticated_sockets_in_all(besieged: Served) -> None:
    """From however many addresses they come."""
    async with undisturbed(besieged), AsyncExitStack() as stack:
        for _ in range(WAITING_IN_ALL):
            options = come_from(next(_ADDRESSES))
            await stack.enter_async_context(peer(besieged.ws_url, **options))
        async with peer(besieged.ws_url, **come_from(next(_ADDRESSES))) as client:
            assert await client.read_to_close() == TOO_MANY


async def test_live_sessions(besieged: Served) -> None:
    """The fifth is 429; the four go on, and when one has ended the fifth is let in."""
    await _until_ended(besieged)
    async with AsyncExitStack() as stack:
        peers = []
        for _ in range(LIVE):
            client = await stack.enter_async_context(peer(besieged.ws_url))
            await opened(client, minted(besieged))
            peers.append(client)
        spare = minted(besieged)
        with untouched(besieged):
            for _ in range(3):
                assert await show(besieged, spare) == TOO_MANY
        for client in peers:
            await _answers(client)
        await peers[0].socket.close()
        await _until_ended(besieged, LIVE - 1)
        assert await show(besieged, spare) == OPENED
    await _until_ended(besieged)


@pytest.fixture
def greedy(besieged: Served) -> Someone:
    with closing(open_store(besieged.home.database)) as store:
        who = someone(besieged.home, store)
    wait_until(lambda: who.user.id in besieged.deployment.known.directory.users)
    return who


async def test_tokens_per_minute(besieged: Served, greedy: Someone) -> None:
    """With retry-after, counted for the user alone, and what they have minted stays good."""
    async with undisturbed(besieged):
        first = ask(besieged.url, greedy).json()
        for _ in range(TOKENS - 1):
            assert ask(besieged.url, greedy).status_code == 200
        refused = ask(besieged.url, greedy)
        assert (refused.status_code, refused.json()["code"]) == (429, "TooManyRequests")
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        message = presenting(first["token"], first["compartmentId"])
        assert await say(besieged.ws_url, message) == OPENED
        assert await show(besieged, minted(besieged)) == OPENED
