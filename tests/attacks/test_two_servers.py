"""Two server processes over one database: neither is a way around the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stapes import RealtimeSessionToken
from stapes.cli import app
from stapes.identity.changes import remove_user
from stapes.identity.key_changes import enable_key
from stapes.store.records import Revoked
from tests.attacks.forging import claims_of, decode
from tests.attacks.people import Someone, ask, change, minted_by, someone
from tests.attacks.processes import MOST_LIVE, MOST_MINTED, Pair, Process, live
from tests.attacks.sockets import (
    NOT_AUTHENTICATED,
    OPENED,
    TOO_MANY,
    Answer,
    opened,
    presenting,
    say,
)
from tests.scenarios.conftest import Peer, peer
from tests.waiting import PATIENCE_S, wait_until

SINGLE_USE = {"definedTags": {"stapes": {"single-use": True}}}
ROUNDS = 20


@pytest.fixture
def who(pair: Pair) -> Someone:
    """A user that both servers know."""
    made = someone(pair.home, pair.store)
    for server in pair.both:
        minted_by(server.url, made)
    return made


def stapes(pair: Pair, *arguments: str) -> Result:
    """A command of the machine's own, over the pair's home and database."""
    url = pair.home.database_url
    given = {"STAPES_DATABASE": url.get_secret_value()} if url else {}
    home = ("--home", str(pair.home.path))
    result = CliRunner().invoke(app, [*arguments, *home], env=given)
    assert result.exit_code == 0, result.output
    return result


async def answer(server: Process, token: RealtimeSessionToken) -> Answer:
    return await say(server.ws_url, presenting(token.token, token.compartment_id))


async def soon_answered(server: Process, token: RealtimeSessionToken, expected: Answer) -> None:
    """What a server answers once it knows."""
    async with asyncio.timeout(PATIENCE_S):
        while await answer(server, token) != expected:
            await asyncio.sleep(0.02)


async def ended(*clients: Peer) -> set[Answer]:
    """How live sockets ended."""
    ends = await asyncio.gather(*(client.read_to_close() for client in clients))
    return {Answer(*end) for end in ends}


async def test_session_revocation(pair: Pair, who: Someone) -> None:
    """The live sockets of both close, and neither opens another; other sessions go on."""
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(live(server, who)) for server in pair.both]
        bystander, _ = await stack.enter_async_context(live(pair.first, who))
        now, tenancy_id = datetime.now(UTC), pair.home.tenancy_id
        revoked = [Revoked(tenancy_id, "session", it.session_id, now) for _, it in lives]
        pair.store.write(revoked)
        assert await ended(*(client for client, _ in lives)) == {NOT_AUTHENTICATED}
        for server in pair.both:
            for _, token in lives:
                await soon_answered(server, token, NOT_AUTHENTICATED)
        await bystander.send_json(event="SEND_FINAL_RESULT")
        assert await bystander.read_final()


async def test_revocation_before_first_use(pair: Pair, who: Someone) -> None:
    """A token that was never shown is refused by the server that did not mint it, too."""
    token = minted_by(pair.first.url, who)
    now = datetime.now(UTC)
    pair.store.write([Revoked(pair.home.tenancy_id, "session", token.session_id, now)])
    for server in pair.both:
        await soon_answered(server, token, NOT_AUTHENTICATED)


async def test_user_revocation(pair: Pair, who: Someone) -> None:
    """All that the user holds dies on both; what is minted from then on lives."""
    async with live(pair.first, who) as (one, first), live(pair.second, who) as (two, second):
        now = datetime.now(UTC)
        pair.store.write([Revoked(pair.home.tenancy_id, "user", who.user.id, now)])
        assert await ended(one, two) == {NOT_AUTHENTICATED}
        for token in (first, second):
            for server in pair.both:
                await soon_answered(server, token, NOT_AUTHENTICATED)
    later = minted_by(pair.first.url, who)
    assert await answer(pair.second, later) == OPENED


LIVE_ELSEWHERE = Answer(409, 1008)


async def test_one_live_socket_of_a_session(pair: Pair, who: Someone) -> None:
    """While the peer of the one answers, the other refuses; when it has left, it does not."""
    async with live(pair.first, who) as (one, token):
        for _ in range(2):
            assert await answer(pair.second, token) == LIVE_ELSEWHERE
        await one.send_json(event="SEND_FINAL_RESULT")
        assert await one.read_final()
    assert await answer(pair.second, token) == OPENED
    assert await answer(pair.first, token) == OPENED


async def test_one_live_socket_of_a_session_whose_peer_is_gone(pair: Pair, who: Someone) -> None:
    """One that does not answer is dropped, and told why; the other is served."""
    token = await asyncio.to_thread(minted_by, pair.first.url, who)
    async with peer(pair.first.ws_url) as silent:
        await opened(silent, token)
        silent.socket.transport.pause_reading()  # no pong any more
        async with peer(pair.second.ws_url) as second:
            await opened(second, token)
            silent.socket.transport.resume_reading()
            assert Answer(*await silent.read_to_close()) == LIVE_ELSEWHERE
            await second.send_json(event="SEND_FINAL_RESULT")
            assert await second.read_final()


async def test_one_live_socket_of_a_session_at_the_same_instant(pair: Pair, who: Someone) -> None:
    """One token shown to both at once is served by one of them, round after round."""
    for number in range(ROUNDS):
        token = minted_by(pair.both[number % 2].url, who)
        async with (
            first_message_ready(pair.first, token) as one,
            first_message_ready(pair.second, token) as two,
        ):
            assert sorted(await asyncio.gather(one(), two())) == ["409", "CONNECT"]


@asynccontextmanager
async def first_message_ready(
    server: Process, token: RealtimeSessionToken
) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """A socket that is open, to authenticate at a given instant."""
    async with peer(server.ws_url) as client:

        async def authenticate() -> str:
            told = await client.authenticate(token)
            return str(told.get("code", told["event"]))

        yield authenticate


async def test_single_use_at_the_same_instant(pair: Pair, who: Someone) -> None:
    """One token shown to both at once opens one stream, round after round."""
    for number in range(ROUNDS):
        token = minted_by(pair.both[number % 2].url, who, **SINGLE_USE)
        async with (
            first_message_ready(pair.first, token) as one,
            first_message_ready(pair.second, token) as two,
        ):
            assert sorted(await asyncio.gather(one(), two())) == ["401", "CONNECT"]
        assert len(pair.store.streams(session_id=token.session_id)) == 1
        for server in pair.both:
            assert await answer(server, token) == NOT_AUTHENTICATED


async def test_single_use_one_after_the_other(pair: Pair, who: Someone) -> None:
    """Used on the one, it is used up on the other."""
    token = minted_by(pair.first.url, who, **SINGLE_USE)
    assert await answer(pair.second, token) == OPENED
    assert await answer(pair.first, token) == NOT_AUTHENTICATED


async def test_live_session_quota(pair: Pair, who: Someone) -> None:
    """What is live on the one counts on the other; what runs goes on, and a place gets free."""
    async with AsyncExitStack() as stack:
        peers = []
        for number in range(MOST_LIVE - 1):
            server = pair.both[number % 2]
            peers.append((await stack.enter_async_context(live(server, who)))[0])
        async with live(pair.second, who) as (last, _):
            spare = minted_by(pair.first.url, who)
            for server in pair.both:
                await soon_answered(server, spare, TOO_MANY)
            for client in (*peers, last):
                await client.send_json(event="SEND_FINAL_RESULT")
                assert await client.read_final()
        for server in pair.both:
            await soon_answered(server, spare, OPENED)


def test_tokens_per_minute(pair: Pair) -> None:
    """A user mints as many on both together as on one."""
    greedy = someone(pair.home, pair.store)
    answer_soon(pair, greedy, 404, compartment_id="x")
    for number in range(MOST_MINTED):
        assert ask(pair.both[number % 2].url, greedy).status_code == 200
    answer_soon(pair, greedy, 429)
    for server in pair.both:
        refused = ask(server.url, greedy)
        assert refused.json()["code"] == "TooManyRequests"
        assert 1 <= int(refused.headers["retry-after"]) <= 120


def answer_soon(pair: Pair, who: Someone, status: int, **asked: Any) -> None:
    """Both come to answer so to a request for a token."""
    for server in pair.both:
        wait_until(partial(_is_answered, server.url, who, status, **asked))


def _is_answered(url: str, who: Someone, status: int, **asked: Any) -> bool:
    return ask(url, who, **asked).status_code == status


def test_disabled_key(pair: Pair, who: Someone) -> None:
    """A key that is disabled on the command line signs in nowhere, and does again when enabled."""
    stapes(pair, "iam", "key", "disable", who.user.name, who.key.id)
    answer_soon(pair, who, 401)
    change(pair.store, enable_key, pair.home.tenancy_id, who.user.id, who.key.id, enabled=True)
    answer_soon(pair, who, 200)


async def test_removed_user(pair: Pair, who: Someone) -> None:
    """Key, tokens and live sockets end on both."""
    async with live(pair.first, who) as (one, token), live(pair.second, who) as (two, _):
        change(pair.store, remove_user, pair.home.tenancy_id, who.user.name)
        assert await ended(one, two) == {NOT_AUTHENTICATED}
        answer_soon(pair, who, 401)
    for server in pair.both:
        assert await answer(server, token) == NOT_AUTHENTICATED


def kid_of(token: RealtimeSessionToken) -> str:
    header: dict[str, str] = json.loads(decode(token.token.split(".")[0]))
    return header["kid"]


def _signs_with_another(server: Process, who: Someone, kid: str) -> bool:
    return kid_of(minted_by(server.url, who)) != kid


async def test_key_rotation(pair: Pair, who: Someone) -> None:
    """Both sign with the new key; the old one's tokens open until it is retired."""
    old = minted_by(pair.first.url, who)
    stapes(pair, "keys", "rotate")
    for server in pair.both:
        wait_until(partial(_signs_with_another, server, who, kid_of(old)))
        assert await answer(server, old) == OPENED
    new = minted_by(pair.first.url, who)
    assert claims_of(new.token)["sub"] == who.user.id
    stapes(pair, "keys", "rotate", "--now")
    for server in pair.both:
        for token in (old, new):
            await soon_answered(server, token, NOT_AUTHENTICATED)
        assert await answer(server, minted_by(server.url, who)) == OPENED
