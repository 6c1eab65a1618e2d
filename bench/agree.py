"""How soon two servers of one database agree on what was changed.

``scripts/bench agree [--rounds N] [--databases LIST] [--json]``. Two ``stapes serve`` with the
scripted engine, on SQLite and on PostgreSQL. Each round makes every change once, in a process that
is neither server: a session or a user is revoked while each server has a live socket of theirs, a
key is disabled, a user removed, the signing key rotated; or, on one server, a single-use token is
used, a quota of live sessions or of tokens a minute exhausted. Time from when the change is made
until both servers act on it: live sockets are closed, what has to be refused is refused. The bar
holds for the slowest round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.table import Table

from bench.harness import Bar, Report
from stapes import RealtimeSessionToken
from stapes.cli.own_server import ended_by_signals
from stapes.identity.changes import remove_user
from stapes.identity.key_changes import enable_key
from stapes.server.rotation import Rotation, rotate
from stapes.store.records import Revoked
from tests.attacks.forging import decode
from tests.attacks.people import NO_TLS, Someone, ask, change, minted_by, someone
from tests.attacks.processes import MOST_LIVE, MOST_MINTED, Pair, Process, live, serving_pair
from tests.attacks.sockets import NOT_AUTHENTICATED, TOO_MANY, Answer, presenting, say
from tests.postgres import postgres_server
from tests.scenarios.conftest import Peer

DATABASES = ("sqlite", "postgresql")
LONGEST_MS = 1000
KEYS = "/.well-known/jwks.json"
POLL_S = 0.005
GIVE_UP_S = 30
SINGLE_USE = {"definedTags": {"stapes": {"single-use": True}}}

Way = Callable[[Pair, Someone], Awaitable[float]]


def run(arguments: Sequence[str]) -> Report:
    """Make every change in every round, on each database."""
    parser = argparse.ArgumentParser("scripts/bench agree", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="of every change")
    parser.add_argument("--databases", default=",".join(DATABASES), help="separated by commas")
    chosen = parser.parse_args(arguments)
    found: dict[str, list[float]] = {}
    for database in chosen.databases.split(","):
        with ended_by_signals(), _pair(database) as pair:
            for _ in range(chosen.rounds):
                for name, way in WAYS.items():
                    took_ms = 1000 * asyncio.run(_once(pair, way))
                    found.setdefault(f"{database}, {name}", []).append(took_ms)
    return _report(found)


@contextmanager
def _pair(database: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stapes-"))
        url = None
        if database == "postgresql":
            url = stack.enter_context(stack.enter_context(postgres_server()).database())
        yield stack.enter_context(serving_pair(Path(folder), url))


async def _once(pair: Pair, way: Way) -> float:
    """One change, for a user that both servers know and that has nothing live."""
    who = someone(pair.home, pair.store)
    for server in pair.both:
        await asyncio.to_thread(minted_by, server.url, who)
    async with asyncio.timeout(GIVE_UP_S):
        return await way(pair, who)


# What is changed


async def _session_revoked(pair: Pair, who: Someone) -> float:
    async with _live_on_both(pair, who) as lives:
        now, tenancy_id = datetime.now(UTC), pair.home.tenancy_id
        tokens = [token for _, token in lives]
        pair.store.write([Revoked(tenancy_id, "session", it.session_id, now) for it in tokens])
        return await _until_dead(pair, lives)


async def _user_revoked(pair: Pair, who: Someone) -> float:
    async with _live_on_both(pair, who) as lives:
        pair.store.write([Revoked(pair.home.tenancy_id, "user", who.user.id, datetime.now(UTC))])
        return await _until_dead(pair, lives)


async def _user_removed(pair: Pair, who: Someone) -> float:
    async with _live_on_both(pair, who) as lives:
        change(pair.store, remove_user, pair.home.tenancy_id, who.user.name)
        dead_s, refused_s = await asyncio.gather(
            _until_dead(pair, lives), _until(pair, lambda server: _status(server, who, 401))
        )
        return max(dead_s, refused_s)


async def _key_disabled(pair: Pair, who: Someone) -> float:
    names = (pair.home.tenancy_id, who.user.id, who.key.id)
    change(pair.store, enable_key, *names, enabled=False)
    return await _until(pair, lambda server: _status(server, who, 401))


async def _key_rotated(pair: Pair, who: Someone) -> float:
    rotated = rotate(pair.home, pair.store, Rotation("local:bench", datetime.now(UTC), None))

    async def knows_it(server: Process) -> bool:
        url = server.url + KEYS
        answer = await asyncio.to_thread(httpx.get, url, trust_env=False, verify=NO_TLS)
        return rotated.kid in {key["kid"] for key in answer.json()["keys"]}

    took_s = await _until(pair, knows_it)
    for server in pair.both:
        token = await asyncio.to_thread(minted_by, server.url, who)
        assert json.loads(decode(token.token.partition(".")[0]))["kid"] == rotated.kid
    return took_s


async def _single_use(pair: Pair, who: Someone) -> float:
    token = await asyncio.to_thread(minted_by, pair.first.url, who, **SINGLE_USE)
    await _answer(pair.first, token)
    return await _until(pair, lambda server: _answers(server, token, NOT_AUTHENTICATED))


async def _live_quota(pair: Pair, who: Someone) -> float:
    spare = await asyncio.to_thread(minted_by, pair.first.url, who)
    async with AsyncExitStack() as stack:
        for number in range(MOST_LIVE):
            await stack.enter_async_context(live(pair.both[number % 2], who))
        return await _until(pair, lambda server: _answers(server, spare, TOO_MANY))


async def _tokens_a_minute(pair: Pair, who: Someone) -> float:
    for _ in range(MOST_MINTED - len(pair.both)):
        await asyncio.to_thread(ask, pair.first.url, who)
    return await _until(pair, lambda server: _status(server, who, 429))


WAYS: Mapping[str, Way] = {
    "session revoked": _session_revoked,
    "user revoked": _user_revoked,
    "user removed": _user_removed,
    "key disabled": _key_disabled,
    "signing key rotated": _key_rotated,
    "single-use token used": _single_use,
    "live sessions at their quota": _live_quota,
    "tokens a minute at their quota": _tokens_a_minute,
}


# How it shows


@asynccontextmanager
async def _live_on_both(
    pair: Pair, who: Someone
) -> AsyncIterator[list[tuple[Peer, RealtimeSessionToken]]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(live(server, who)) for server in pair.both]


async def _until(pair: Pair, is_so: Callable[[Process], Awaitable[bool]]) -> float:
    """How long until it is so on both, s."""
    began_at = time.monotonic()

    async def until(server: Process) -> None:
        while not await is_so(server):  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(POLL_S)

    await asyncio.gather(*(until(server) for server in pair.both))
    return time.monotonic() - began_at


async def _until_dead(pair: Pair, lives: Sequence[tuple[Peer, RealtimeSessionToken]]) -> float:
    """How long until the sockets are closed and neither server takes one of the tokens, s."""
    began_at = time.monotonic()
    ends = await asyncio.gather(*(client.read_to_close() for client, _ in lives))
    assert set(ends) == {NOT_AUTHENTICATED}, ends
    for _, token in lives:
        await _until(pair, lambda server, it=token: _answers(server, it, NOT_AUTHENTICATED))  # type: ignore[misc]
    return time.monotonic() - began_at


async def _status(server: Process, who: Someone, status: int) -> bool:
    return (await asyncio.to_thread(ask, server.url, who)).status_code == status


async def _answers(server: Process, token: RealtimeSessionToken, expected: Answer) -> bool:
    return await _answer(server, token) == expected


async def _answer(server: Process, token: RealtimeSessionToken) -> Answer:
    return await say(server.ws_url, presenting(token.token, token.compartment_id))


def _report(found: Mapping[str, list[float]]) -> Report:
    table = Table("change", "rounds", "p50, ms", "max, ms")
    figures, bars = {}, []
    for name, took_ms in found.items():
        p50, longest = round(statistics.median(took_ms), 1), round(max(took_ms), 1)
        table.add_row(name, str(len(took_ms)), f"{p50:.0f}", f"{longest:.0f}")
        figures[name] = {"rounds": len(took_ms), "p50_ms": p50, "max_ms": longest}
        bars.append(Bar.at_most(f"{name}: until both servers act on it, ms", longest, LONGEST_MS))
    return Report("agree", figures, bars, table)
