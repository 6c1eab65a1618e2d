"""A single-use token, shown more than once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from stapes.errors import TokenUsedError
from stapes.protocol.params import parse_params
from stapes.server.accounting import open_account
from stapes.server.authentication import grant_for_token
from tests.attacks.forging import minted
from tests.attacks.sockets import NOT_AUTHENTICATED, OPENED, show, untouched
from tests.conftest import Served
from tests.scenarios.conftest import peer
from tests.waiting import until

SINGLE_USE = {"stapes": {"single-use": True}}
ROUNDS = 10


async def test_replayed_single_use(served: Served) -> None:
    """One after the other: a second opening is refused, and so is a third."""
    token = minted(served, defined_tags=SINGLE_USE)
    assert await show(served, token) == OPENED
    await _until_ended(served)
    with untouched(served):
        for _ in range(2):
            assert await show(served, token) == NOT_AUTHENTICATED
        now = datetime.now(UTC)
        grant = grant_for_token(served.deployment, token.token, token.compartment_id, now)
        with pytest.raises(TokenUsedError):
            await open_account(served.deployment, grant, parse_params(""), is_resumable=False)


@pytest.mark.parametrize("sockets", [2, 5])
async def test_replayed_single_use_at_the_same_instant(served: Served, sockets: int) -> None:
    """Of sockets that all wait and show it at once, one is served; the others never will be."""
    for _ in range(ROUNDS):
        token = minted(served, defined_tags=SINGLE_USE)
        opened = served.deployment.pool.opened

        async def present(barrier: asyncio.Barrier, token=token) -> str:  # type: ignore[no-untyped-def]
            async with peer(served.ws_url) as client:
                await barrier.wait()
                answer = await client.authenticate(token)
                await barrier.wait()
                return str(answer.get("code", answer["event"]))

        barrier = asyncio.Barrier(sockets)
        answers = await asyncio.gather(*(present(barrier) for _ in range(sockets)))
        assert sorted(answers) == ["409"] * (sockets - 1) + ["CONNECT"]
        assert served.deployment.pool.opened == opened + 1
        await _until_ended(served)
        assert await show(served, token) == NOT_AUTHENTICATED


async def test_replayed_single_use_after_a_restart(start_server: Callable[..., Served]) -> None:
    """A server that knows nothing of it by heart refuses it, too; one not yet used it serves."""
    before = start_server()
    used, fresh = (minted(before, defined_tags=SINGLE_USE) for _ in range(2))
    assert await show(before, used) == OPENED
    await asyncio.to_thread(before.stop)
    after = start_server()
    with untouched(after):
        assert await show(after, used) == NOT_AUTHENTICATED
    assert await show(after, fresh) == OPENED


async def _until_ended(server: Served) -> None:
    await until(lambda: not len(server.deployment.live))
