"""A database that is locked or full: nothing is dropped, ``/ready`` tells, and it passes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from stapes import RealtimeSessionToken
from tests.conftest import Served
from tests.faults.conftest import bounded
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("left_clean")

MOST_PAGES = 1_073_741_823
QUERY = "finalSilenceThresholdInMs=500"


@contextmanager
def locked(server: Served) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    with closing(sqlite3.connect(server.home.path / "stapes.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(server: Served) -> Iterator[None]:
    """No page more than there is now: what a full disk says to SQLite."""
    pool = server.deployment.store._reading_engine.pool  # type: ignore[attr-defined]

    with closing(sqlite3.connect(server.home.path / "stapes.db")) as own:
        own.execute("VACUUM")  # pages that are free could be written still
        (now,) = own.execute("PRAGMA page_count").fetchone()

    def bound(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {now if is_full else MOST_PAGES}")

    is_full = True
    event.listen(pool, "checkout", bound)
    yield
    is_full = False
    # Connections of the pool keep the bound that they were given: each has to be told.
    server.deployment.writer.flush(PATIENCE_S)
    event.remove(pool, "checkout", bound)
    pool.dispose()


async def readiness(server: Served) -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        answer = await client.get(f"{server.url}/ready")
    return answer.status_code, answer.text


@pytest.mark.parametrize("fault", [locked, full])
async def test_finals_wait_for_the_database_and_are_written_in_the_end(
    faulty: Served,
    demo: bytes,
    peer: Any,
    mint: Callable[..., RealtimeSessionToken],
    fault: Any,
) -> None:
    """The stream does not notice, readiness does."""
    token = mint(faulty)
    async with peer(faulty.ws_url, QUERY) as plain:
        await plain.authenticate(token)
        await asyncio.to_thread(faulty.deployment.writer.flush, PATIENCE_S)
        with fault(faulty):
            texts = [await bounded(plain.hear(demo))]
            async with asyncio.timeout(PATIENCE_S):
                while (told := await readiness(faulty))[0] != 503:
                    texts.append(await plain.hear(demo))  # there may be room on the last pages
            texts.append(await bounded(plain.hear(demo)))
            assert "database" in told[1] or "disk" in told[1] or "locked" in told[1]
            assert faulty.deployment.writer.waiting > 0
        await asyncio.to_thread(faulty.deployment.writer.flush, PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        while (await readiness(faulty))[0] != 200:
            await asyncio.sleep(0.1)
    kept = faulty.deployment.store.finals(token.session_id)
    assert " ".join(final.text for final in kept) == " ".join(texts)
