"""Attacks on the socket: what is sent first, what is answered, and that nothing was reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from stapes import RealtimeSessionToken
from tests.conftest import Served
from tests.scenarios.conftest import Peer, peer
from tests.waiting import PATIENCE_S


class Answer(NamedTuple):
    """Code of the ERROR (0: the stream was opened) and of the close."""

    code: int
    close_code: int | None


OPENED = Answer(0, 1000)
NOT_AUTHENTICATED = Answer(401, 1008)
NOT_FOUND = Answer(404, 1008)
TOO_MANY = Answer(429, 1008)


async def say(url: str, message: object, query: str = "", **options: Any) -> Answer:
    """Send a first message (a text as it is, else as JSON); leave when it opens a stream."""
    text = message if isinstance(message, str) else json.dumps(message)
    async with peer(url, query, **options) as client:
        await client.socket.send(text)
        first = await client.read()
        if first["event"] == "CONNECT":
            return OPENED
        assert set(first) <= {"event", "code", "message", "sessionId"}
        code, close_code = await client.read_to_close()
        assert code == 0, "one ERROR and no more"
        return Answer(first["code"], close_code)


async def show(
    server: Served, token: RealtimeSessionToken, query: str = "", **options: Any
) -> Answer:
    """Authenticate with a token, as its holder would."""
    return await say(server.ws_url, presenting(token.token, token.compartment_id), query, **options)


async def show_text(server: Served, token: str, **options: Any) -> Answer:
    """Authenticate with the text of a token, in the compartment of the home."""
    return await say(server.ws_url, presenting(token, server.home.compartment_id), **options)


def presenting(token: object, compartment_id: object) -> dict[str, Any]:
    """The message that authenticates with a token."""
    return {"authenticationType": "TOKEN", "compartmentId": compartment_id, "token": token}


async def opened(client: Peer, token: RealtimeSessionToken) -> None:
    """Authenticate a peer that is to be let in."""
    answer = await client.authenticate(token)
    assert answer["event"] == "CONNECT", answer


@contextmanager
def untouched(server: Served) -> Iterator[None]:
    """No recogniser is taken within the block, and no stream written in the store."""
    before = _reached(server)
    yield
    server.deployment.writer.flush(PATIENCE_S)
    assert _reached(server) == before


def _reached(server: Served) -> tuple[int, int]:
    deployment = server.deployment
    return deployment.pool.opened, len(deployment.store.streams(limit=100_000))
