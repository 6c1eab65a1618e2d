"""What a stream leaves behind when something goes wrong, and what those learn who come late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.websockets import WebSocket

from stapes.protocol.events import RecogniserTaken
from stapes.server import accounting
from stapes.server.accounting import StreamAccount
from stapes.server.stream import Pump
from tests.conftest import Served
from tests.scenarios import conftest as scenarios
from tests.scenarios.conftest import peer
from tests.server.grants import grant
from tests.waiting import until

if TYPE_CHECKING:
    from starlette.types import Message

    from stapes import RealtimeSessionToken

mint = scenarios.mint


async def failed(server: Served, token: RealtimeSessionToken) -> Pump:
    """A stream that met with a mistake of ours: an event that cannot come in its phase."""
    async with peer(server.ws_url) as plain:
        await plain.authenticate(token)
        held = server.deployment.live.find(token.session_id)
        assert held is not None
        server.loop.call_soon_threadsafe(cast(Any, held[0]).post, RecogniserTaken())
        assert await plain.read_to_close() == (500, 1011)
    await until(held[0].ended.is_set)
    return cast(Pump, held[0])


async def test_a_stream_that_fails_is_ended_in_the_database(
    served: Served, mint: Callable[..., RealtimeSessionToken]
) -> None:
    """It is no live session any more, and may be continued."""
    token = mint(served)
    await failed(served, token)
    store = served.deployment.store
    await until(lambda: store.streams(session_id=token.session_id)[0].closed_at is not None)
    (stream,) = store.streams(session_id=token.session_id)
    assert stream.reason == "failed"


async def test_a_socket_that_comes_for_a_stream_that_has_just_ended_is_told(
    served: Served, mint: Callable[..., RealtimeSessionToken]
) -> None:
    """An ERROR before the close, as ever."""
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        told.append(message)

    pump = await failed(served, mint(served))
    socket = WebSocket({"type": "websocket", "extensions": {}}, receive, send)
    await socket.accept()
    await pump.adopt(socket, 0)
    _accept, error, close = told
    assert '"code":503' in error["text"]
    assert (close["type"], close["code"]) == ("websocket.close", 1001)


async def test_what_a_stream_used_takes_no_room_while_the_database_takes_nothing(
    start_server: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later figure replaces it; finals wait there, which nothing replaces."""
    monkeypatch.setattr(accounting, "METERED_EVERY_S", 0)
    deployment = start_server().deployment
    await asyncio.to_thread(deployment.writer.flush, 60)
    account = StreamAccount(deployment, grant("s"), 1)
    written = deployment.writer._put
    deployment.writer.problem = "the disk is full"
    account.meter(1000, 500)
    assert deployment.writer._put == written
    deployment.writer.problem = None
    account.meter(1000, 500)
    assert deployment.writer._put > written
