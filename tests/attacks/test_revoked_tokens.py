"""A token that was taken back, or whose key was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from stapes.server.rotation import Rotation, rotate
from stapes.store.port import Store
from stapes.store.records import Revoked
from stapes.store.sql import open_store
from tests.attacks.forging import forged, minted
from tests.attacks.people import Someone, minted_by
from tests.attacks.sockets import (
    NOT_AUTHENTICATED,
    OPENED,
    opened,
    show,
    show_text,
    untouched,
)
from tests.conftest import Served
from tests.scenarios.conftest import peer
from tests.waiting import until


@pytest.mark.parametrize("scope", ["session", "user"])
async def test_revoked_token(served: Served, store: Store, stranger: Someone, scope: str) -> None:
    """The live socket is told 401 and closed, and it opens no other."""
    token = minted_by(served.url, stranger)
    subject = token.session_id if scope == "session" else stranger.user.id
    async with peer(served.ws_url) as client:
        await opened(client, token)
        now = datetime.now(UTC)
        store.write([Revoked(served.home.tenancy_id, scope, subject, now)])  # type: ignore[arg-type]
        assert await client.read_to_close() == NOT_AUTHENTICATED
    with untouched(served):
        assert await show(served, token) == NOT_AUTHENTICATED


async def test_revocation_survives_a_restart(start_server: Callable[..., Served]) -> None:
    """It is not only known by heart."""
    before = start_server()
    token = minted(before)
    with closing(open_store(before.home.database)) as store:
        now = datetime.now(UTC)
        store.write([Revoked(before.home.tenancy_id, "session", token.session_id, now)])
    await asyncio.to_thread(before.stop)
    after = start_server()
    with untouched(after):
        assert await show(after, token) == NOT_AUTHENTICATED


async def rotated(server: Served, overlap: timedelta | None) -> None:
    """Rotate as another process does, and wait until the server signs with the new key."""
    with closing(open_store(server.home.database)) as store:
        done = rotate(server.home, store, Rotation("local:test", datetime.now(UTC), overlap))
    await until(lambda: server.deployment.signing_key(datetime.now(UTC)).kid == done.kid)


async def test_retired_signing_key(start_server: Callable[..., Served]) -> None:
    """A token of a key that was retired at once opens nothing, were it good for hours.

    What it opened before is closed.
    """
    server = start_server()
    token, forgery = minted(server), forged(server)
    assert await show(server, token) == OPENED
    async with peer(server.ws_url) as client:
        await opened(client, token)
        await rotated(server, None)
        assert await client.read_to_close() == NOT_AUTHENTICATED
    with untouched(server):
        assert await show(server, token) == NOT_AUTHENTICATED
        assert await show_text(server, forgery) == NOT_AUTHENTICATED
    assert await show(server, minted(server)) == OPENED


async def test_socket_outlasts_a_rotation(start_server: Callable[..., Served]) -> None:
    """A key that retires when its tokens are over takes nothing away."""
    server = start_server()
    async with peer(server.ws_url) as client:
        await opened(client, minted(server))
        await rotated(server, timedelta(hours=2))
        await client.send_json(event="SEND_FINAL_RESULT")
        assert await client.read_final()
