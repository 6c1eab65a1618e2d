"""What happens to connections is not heard: the finals are those of an uninterrupted session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stapes import Final, RealtimeSessionToken
from stapes.client import dialing
from stapes.store.port import Store
from tests.conftest import Served
from tests.faults.conftest import bounded, heard
from tests.faults.proxy import Fault, Kind, proxy

pytestmark = pytest.mark.usefixtures("left_clean")

UPGRADE, EARLY, MIDDLE, LATE = 60, 3_000, 180_000, 395_000
"""Bytes of what a client sends for the sample: its upgrade, the first second, and so on."""

ANSWERS = (30, 400, 2_500, 9_000)
"""Bytes of what the server sends: its upgrade, CONNECT, and two among the results."""


@pytest.fixture(autouse=True)
def _short_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients notice within a second that nothing comes back."""
    monkeypatch.setattr(dialing, "PING_INTERVAL_S", 0.3)
    monkeypatch.setattr(dialing, "PING_TIMEOUT_S", 0.5)
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT_S", 1.0)


async def through(
    faults: list[Fault | None], audio: bytes, server: Served
) -> tuple[list[Final], list[Fault]]:
    """What is heard by way of a proxy, and which faults came about."""
    async with proxy(server.url, *faults) as passing:
        finals = await bounded(heard(audio, server, passing.url))
        return finals, passing.happened


@pytest.mark.parametrize("at_byte", [EARLY, MIDDLE, LATE])
@pytest.mark.parametrize(
    "kind", ["cut", "half-close", "black-hole", "delay", "throttle", "fragment"]
)
async def test_a_fault_among_the_audio_changes_no_word_and_no_time(
    faulty: Served, demo: bytes, expected: list[Final], kind: Kind, at_byte: int
) -> None:
    """Wherever it comes."""
    finals, happened = await through([Fault(kind, at_byte)], demo, faulty)
    assert [it.kind for it in happened] == [kind]
    assert finals == expected


@pytest.mark.parametrize("at_byte", ANSWERS[2:])
@pytest.mark.parametrize("kind", ["cut", "half-close", "black-hole", "delay", "fragment"])
async def test_a_fault_among_the_answers_changes_no_word_and_no_time(
    faulty: Served, demo: bytes, expected: list[Final], kind: Kind, at_byte: int
) -> None:
    """The final that was on its way comes again, and is told once."""
    finals, happened = await through([Fault(kind, at_byte, is_answer=True)], demo, faulty)
    assert [it.kind for it in happened] == [kind]
    assert finals == expected


@pytest.mark.parametrize("is_answer", [False, True])
async def test_a_connection_that_breaks_again_and_again_loses_nothing(
    faulty: Served, demo: bytes, expected: list[Final], is_answer: bool
) -> None:
    """Nor does one that breaks while it is mended: in the upgrade, before CONNECT, after it."""
    places = [2_500, *ANSWERS] if is_answer else [EARLY, UPGRADE, 700, EARLY, MIDDLE, 30_000]
    faults: list[Fault | None] = [Fault("cut", at, is_answer) for at in places]
    finals, happened = await through(faults, demo, faulty)
    assert len(happened) >= 4
    assert finals == expected


async def test_many_at_once_are_cut_together(
    faulty: Served, demo: bytes, expected: list[Final]
) -> None:
    """Each goes on with its own."""
    async with proxy(faulty.url) as passing:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(bounded(heard(demo, faulty, passing.url))) for _ in range(8)]
            while len(faulty.deployment.live) < 8:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            passing.cut_all()
        assert passing.connections > 8
    assert all(task.result() == expected for task in tasks)


@pytest.mark.parametrize("kind", ["cut", "half-close", "black-hole"])
async def test_what_a_client_without_the_extension_said_is_kept(
    faulty: Served,
    demo: bytes,
    peer: Any,
    mint: Callable[..., RealtimeSessionToken],
    kind: Kind,
) -> None:
    """Whatever was heard before the connection broke is in the store, to the last word."""
    token = mint(faulty)
    async with proxy(faulty.url, Fault(kind, MIDDLE)) as passing:
        url = passing.url.replace("http", "ws", 1) + "/ws/transcribe/stream"
        async with peer(url, "finalSilenceThresholdInMs=500&isAckEnabled=true") as plain:
            await plain.authenticate(token)
            reading = asyncio.create_task(plain.read_to_close())
            await plain.send_audio(demo[:MIDDLE])
            await bounded(_until_kept(faulty, token.session_id))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            plain.socket.transport.abort()
    acknowledged = [it["details"] for it in plain.messages if it["event"] == "ACKAUDIO"]
    taken = max((it["offset"] + it["length"] for it in acknowledged), default=0)
    (closed,) = faulty.deployment.store.streams(session_id=token.session_id)
    assert closed.audio_ms >= taken // 32
    finals = faulty.deployment.store.finals(token.session_id)
    async with peer(faulty.ws_url, "finalSilenceThresholdInMs=500") as other:
        await other.authenticate(mint(faulty))
        text = await other.hear(demo[: closed.audio_ms * 32])
    assert " ".join(final.text for final in finals) == text


async def _until_kept(server: Served, session_id: str) -> None:
    """Wait until the stream is closed in the store."""
    store: Store = server.deployment.store
    while True:
        found = await asyncio.to_thread(store.streams, session_id=session_id)
        if found and found[0].closed_at is not None:
            return
        await asyncio.sleep(0.05)
