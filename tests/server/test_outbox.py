"""What waits for a peer that reads slowly."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from stapes.server import outbox as outbox_module
from stapes.server.outbox import CROWDED, Message, Outbox


class Reader:
    """A peer that reads when it may."""

    def __init__(self, timeout_s: float = 30, *, is_reading: bool = False) -> None:
        self.got: list[str] = []
        self.unread: list[str] | None = None
        self.may_read = asyncio.Event()
        self.is_gone = False
        if is_reading:
            self.may_read.set()
        self.outbox = Outbox(self._send, timeout_s, self._failed)

    def put(
        self, text: str, *, is_partial: bool = False, written: Future[None] | None = None
    ) -> None:
        self.outbox.put({"text": text}, is_partial=is_partial, written=written)

    async def _send(self, message: Message) -> None:
        await self.may_read.wait()
        if self.is_gone:
            raise OSError("gone")
        self.got.append(message["text"])

    def _failed(self, unread: list[Message]) -> None:
        self.unread = [each["text"] for each in unread]


async def test_messages_arrive_in_order() -> None:
    """Partials too, while the peer reads."""
    reader = Reader(is_reading=True)
    for at in range(5):
        reader.put(str(at), is_partial=at % 2 == 0)
    await reader.outbox.finish()
    assert reader.got == ["0", "1", "2", "3", "4"]


async def test_partials_give_way_and_nothing_else() -> None:
    """However many come, no more than a crowd waits; everything else arrives in order."""
    reader = Reader()
    for at in range(CROWDED * 4):
        reader.put(f"partial {at}", is_partial=True)
        if at % 8 == 0:
            reader.put(f"final {at}")
    reader.may_read.set()
    await reader.outbox.finish()
    finals = [text for text in reader.got if text.startswith("final")]
    assert finals == [f"final {at}" for at in range(0, CROWDED * 4, 8)]
    assert len(reader.got) <= CROWDED + len(finals)
    assert reader.got[-1] == f"partial {CROWDED * 4 - 1}"


async def test_a_peer_that_does_not_read_is_not_read() -> None:
    """And is read on when it has caught up."""
    reader = Reader()
    for at in range(CROWDED):
        assert reader.outbox.has_room.is_set()
        reader.put(str(at))
    assert not reader.outbox.has_room.is_set()
    reader.may_read.set()
    await reader.outbox.has_room.wait()
    await reader.outbox.finish()
    assert len(reader.got) == CROWDED


async def test_what_was_not_read_in_time_is_handed_back_but_for_partials() -> None:
    """Once; and what is put afterwards goes nowhere."""
    reader = Reader(timeout_s=0.01)
    for text in ("final", "partial", "last"):
        reader.put(text, is_partial=text == "partial")
    await reader.outbox.finish()
    reader.put("late")
    assert (reader.unread, reader.got) == (["final", "last"], [])
    assert reader.outbox.has_room.is_set()


async def test_for_a_peer_that_is_gone_nothing_is_handed_back() -> None:
    """There is nobody to tell."""
    reader = Reader(is_reading=True)
    reader.is_gone = True
    reader.put("final")
    await reader.outbox.finish()
    assert reader.unread == []


async def test_what_is_abandoned_is_not_sent() -> None:
    """The peer is on another socket, and is told there."""
    reader = Reader()
    reader.put("final")
    reader.outbox.abandon()
    reader.may_read.set()
    await reader.outbox.finish()
    assert (reader.got, reader.unread) == ([], None)


@pytest.mark.parametrize("times", [1, 2])
async def test_finishing_twice_is_finishing(times: int) -> None:
    """Nothing waits for ever."""
    reader = Reader(is_reading=True)
    reader.put("last")
    for _ in range(times):
        await reader.outbox.finish()
    assert reader.got == ["last"]


async def test_what_is_not_written_is_held_and_what_is_behind_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In order, from the moment that it is."""
    monkeypatch.setattr(outbox_module, "LONGEST_HELD_S", 1000)
    reader = Reader(is_reading=True)
    done: Future[None] = Future()
    done.set_result(None)
    written: Future[None] = Future()
    reader.put("first", written=done)
    reader.put("final", written=written)
    reader.put("partial", is_partial=True)
    reader.put("last")
    ending = asyncio.create_task(reader.outbox.finish())
    for _ in range(100):
        await asyncio.sleep(0)
    assert reader.got == ["first"]
    written.set_result(None)
    await ending
    assert reader.got == ["first", "final", "partial", "last"]


async def test_what_is_never_written_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is that of each message from when it was put: a second one waits no longer."""
    monkeypatch.setattr(outbox_module, "LONGEST_HELD_S", 0.02)
    reader = Reader(is_reading=True)
    for text in ("first", "second"):
        reader.put(text, written=Future())
    await reader.outbox.finish()
    assert reader.got == ["first", "second"]


async def test_what_is_held_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer is on another socket, and is told there; the writer may still come to it."""
    monkeypatch.setattr(outbox_module, "LONGEST_HELD_S", 1000)
    reader = Reader(is_reading=True)
    written: Future[None] = Future()
    reader.put("final", written=written)
    await asyncio.sleep(0)
    reader.outbox.abandon()
    await reader.outbox.finish()
    written.set_result(None)
    assert reader.got == []
