"""How long a live socket lives on after its token was taken back.

``scripts/bench revoke [--sessions N] [--json]``. A server of its own with the scripted engine; N
sockets stream speech as fast as it is spoken, from another process. Time from the call to each
close frame: by tag and by user over REST, and by tag straight on the store, as `stapes revoke` does
from a process of its own. The bar holds for the slowest socket of every round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.harness import Bar, Report
from stapes.cli.own_server import OwnServer, own_server
from stapes.client.profile import load_private_key
from stapes.measuring.clips import bundled
from stapes.protocol.resources import RealtimeSessionToken
from stapes.server.revoking import Order, revoke_tag
from stapes.signing.signer import sign_request
from stapes.store.sql import open_store

SESSIONS = "/20220101/realtimeSessions"
CHUNK_S = 0.2
CHUNK_BYTES = int(CHUNK_S * 32_000)
SETTLE_S = 2.0
OPENED_AT_ONCE = 25
LONGEST_MS = 1000
TAG = ("bench", "revoke")
ENVIRONMENT = {
    "STAPES_ENGINE": "scripted",
    "STAPES_LIVE_SESSIONS_PER_TENANCY": "0",
    "STAPES_TOKENS_PER_MINUTE_PER_USER": "0",
    "STAPES_LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class Round:
    """One revocation: its name, how long the call took, and when each socket was closed, in ms."""

    name: str
    call_ms: float
    closed_ms: list[float]


def run(arguments: Sequence[str]) -> Report:
    """Open the sessions anew for every round, take them back, time the close frames."""
    parser = argparse.ArgumentParser("scripts/bench revoke", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200, help="live sessions")
    sessions = parser.parse_args(arguments).sessions
    with _environment({**ENVIRONMENT, "STAPES_STREAMS": str(2 * sessions)}), own_server() as server:
        rest = _Rest(server)
        ways: dict[str, Callable[[], None]] = {
            "REST, by tag": rest.by_tag,
            "REST, by tag again": rest.by_tag,
            "REST, by user": rest.by_user,
            "another process, by tag": rest.on_the_store,
        }
        rounds = [asyncio.run(_round(rest, sessions, name, way)) for name, way in ways.items()]
        rest.close()
    return _report(sessions, rounds)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Rest:
    """The administrator of a server."""

    def __init__(self, server: OwnServer) -> None:
        self.server = server
        self._key = load_private_key(server.profile)
        self._client = httpx.Client(trust_env=False)
        self._store = open_store(server.config_file.parents[1] / "stapes.db")

    def close(self) -> None:
        self._client.close()
        self._store.close()

    def mint(self) -> RealtimeSessionToken:
        compartment_id = self.server.profile.compartment
        body = {"compartmentId": compartment_id, "freeformTags": dict([TAG])}
        answer = self._post("/20220101/actions/realtimeSessionToken", body)
        return RealtimeSessionToken.model_validate_json(answer.content)

    def by_tag(self) -> None:
        self._post(f"{SESSIONS}/actions/revokeByTag", {"key": TAG[0], "value": TAG[1]})

    def by_user(self) -> None:
        user_id = self.server.profile.key_id.user_id
        self._post(f"{SESSIONS}/actions/revokeByUser", {"userId": user_id})

    def on_the_store(self) -> None:
        order = Order("local:bench", "", datetime.now(UTC), timedelta(hours=4))
        revoke_tag(self._store, TAG, None, order)

    def _post(self, target: str, body: dict[str, Any]) -> httpx.Response:
        content = json.dumps(body).encode()
        headers = sign_request(
            "POST",
            target,
            urlsplit(self.server.url).netloc,
            {},
            content,
            self.server.profile.key_id,
            self._key,
            datetime.now(UTC),
        )
        answer = self._client.post(self.server.url + target, content=content, headers=headers)
        return answer.raise_for_status()


async def _round(rest: _Rest, sessions: int, name: str, revoke: Callable[[], None]) -> Round:
    speech = b"".join(clip.pcm().tobytes() for clip in bundled())
    gate = asyncio.Semaphore(OPENED_AT_ONCE)
    sockets = await asyncio.gather(*(_open(rest, gate) for _ in range(sessions)))
    streaming = [
        asyncio.create_task(_stream(socket, speech, offset))
        for offset, socket in enumerate(sockets)
    ]
    reading = [asyncio.create_task(_closed_at(socket)) for socket in sockets]
    await asyncio.sleep(SETTLE_S)
    assert not any(task.done() for task in reading), "a session ended before it was revoked"
    began_at = time.monotonic()
    await asyncio.to_thread(revoke)
    call_ms = 1000 * (time.monotonic() - began_at)
    closed_ms = [1000 * (at - began_at) for at in await asyncio.gather(*reading)]
    for task in streaming:
        task.cancel()
    await asyncio.gather(*streaming, return_exceptions=True)
    await asyncio.gather(*(socket.close() for socket in sockets))
    return Round(name, call_ms, sorted(closed_ms))


async def _open(rest: _Rest, gate: asyncio.Semaphore) -> ClientConnection:
    url = rest.server.url.replace("http", "ws", 1) + "/ws/transcribe/stream"
    async with gate:
        token = await asyncio.to_thread(rest.mint)
        socket = await connect(url, ping_interval=None, compression=None, proxy=None)
        message = {
            "authenticationType": "TOKEN",
            "compartmentId": token.compartment_id,
            "token": token.token,
        }
        await socket.send(json.dumps(message))
        answer = json.loads(await socket.recv())
    assert answer["event"] == "CONNECT", answer
    return socket


async def _stream(socket: ClientConnection, speech: bytes, offset: int) -> None:
    """Speech over and over, each socket at another place of it, until it is closed."""
    at = offset * CHUNK_BYTES % len(speech)
    next_at = time.monotonic() + CHUNK_S * (offset % 20) / 20
    try:
        while True:
            await asyncio.sleep(next_at - time.monotonic())
            next_at += CHUNK_S
            await socket.send(speech[at : at + CHUNK_BYTES])
            at = (at + CHUNK_BYTES) % len(speech)
    except ConnectionClosed:
        return


async def _closed_at(socket: ClientConnection) -> float:
    """When the close frame came; it has to be told why, and by which code."""
    code = None
    try:
        async for text in socket:
            message = json.loads(text)
            code = message["code"] if message["event"] == "ERROR" else code
    except ConnectionClosed:
        pass
    at = time.monotonic()
    assert (code, socket.close_code) == (401, 1008), (code, socket.close_code)
    return at


def _report(sessions: int, rounds: Sequence[Round]) -> Report:
    table = Table("round", "call, ms", "p50, ms", "max, ms")
    figures: dict[str, dict[str, float]] = {}
    bars = []
    for each in rounds:
        p50, longest = statistics.median(each.closed_ms), each.closed_ms[-1]
        table.add_row(each.name, f"{each.call_ms:.0f}", f"{p50:.0f}", f"{longest:.0f}")
        figures[each.name] = {
            "call_ms": round(each.call_ms, 1),
            "p50_ms": round(p50, 1),
            "max_ms": round(longest, 1),
        }
        name = f"{each.name}: call to the last of {sessions} close frames, ms"
        bars.append(Bar.at_most(name, round(longest, 1), LONGEST_MS))
    return Report("revoke", figures, bars, table)
