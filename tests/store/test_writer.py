"""What the writer does with records, and with a database that takes none."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
import structlog

from stapes.errors import StoreError
from stapes.store import writer as writer_module
from stapes.store.memory import MemoryStore
from stapes.store.records import FinalHeard, Record, StreamClosed, StreamOpened
from stapes.store.sql import SqlStore, open_store
from stapes.store.writer import Writer
from tests.waiting import PATIENCE_S, wait_until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
STREAM = StreamOpened("session", 1, "t", "c", "u", NOON, {}, "scripted")


def final(number: int, *, stream: int = 1) -> FinalHeard:
    return FinalHeard("session", stream, number, "secret", 0, 0, 0.5, (), NOON)


def numbers(store: SqlStore | MemoryStore) -> list[int]:
    return [it.number for it in store.finals("session")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stapes.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    store = open_store(path)
    yield store
    store.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process's write lock on the database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def test_flushed_records_are_in_the_store(store: SqlStore) -> None:
    """After a flush another connection reads what was put, in its order."""
    writer = Writer(store)
    writer.put(STREAM)
    for number in range(1, 2501):
        writer.put(final(number))
    writer.flush(PATIENCE_S)
    assert numbers(store) == list(range(1, 2501))
    assert writer.problem is None
    writer.close()


def test_a_record_is_written_without_a_flush(store: SqlStore) -> None:
    """A record comes to the disk by itself; nobody has to ask."""
    writer = Writer(store)
    writer.put(STREAM)
    wait_until(lambda: bool(store.streams()))
    assert [it.stream for it in store.streams()] == [1]
    writer.close()


def test_flushing_an_idle_writer_returns(store: SqlStore) -> None:
    """With nothing put there is nothing to wait for."""
    writer = Writer(store)
    writer.flush(0)
    writer.close()


def test_what_somebody_waits_for_does_not_wait_for_company(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written at once with all that was put before, and then whoever waits is told."""
    monkeypatch.setattr(writer_module, "GATHERING_S", 1000)
    writer = Writer(store)
    writer.put(STREAM)
    first = writer.hurry(final(1))
    second = writer.hurry(final(2), final(3))
    first.result(30)
    assert numbers(store)[:1] == [1]
    second.result(30)
    assert numbers(store) == [1, 2, 3]
    writer.close()


def test_whoever_waits_is_told_when_the_database_takes_records_again(
    path: Path, store: SqlStore
) -> None:
    """Not before."""
    writer = Writer(store)
    with locked(path):
        written = writer.hurry(STREAM, final(1))
        with pytest.raises(TimeoutError):
            written.result(0.1)
    written.result(30)
    assert numbers(store) == [1]
    writer.close()


def test_whoever_waits_is_told_of_a_refused_record_too(store: SqlStore) -> None:
    """There is nothing more to wait for."""
    writer = Writer(store)
    writer.hurry(STREAM, STREAM).result(30)
    writer.hurry(final(1), final(1), final(2)).result(30)
    assert numbers(store) == [1, 2]
    writer.close()


class CountingStore(MemoryStore):
    """Remembers the sizes of the batches, and writes when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.may_write = Event()

    def write(self, records: object) -> None:
        """Write and count."""
        assert isinstance(records, list)
        assert self.may_write.wait(PATIENCE_S)
        self.batches.append(len(records))
        super().write(records)


def test_records_that_come_together_are_written_together() -> None:
    """What waits goes into one transaction."""
    store = CountingStore()
    writer = Writer(store)
    writer.put(STREAM)
    for number in range(1, 100):
        writer.put(final(number))
    store.may_write.set()
    writer.flush(PATIENCE_S)
    assert len(store.batches) <= 2
    assert sum(store.batches) == 100
    writer.close()


def test_closing_writes_what_waits(store: SqlStore) -> None:
    """Close flushes; afterwards nothing more is taken, and closing again is no error."""
    writer = Writer(store)
    writer.put(STREAM)
    writer.put(final(1))
    writer.close()
    assert numbers(store) == [1]
    with pytest.raises(StoreError, match="the writer is closed"):
        writer.put(final(2))
    writer.close()


def test_a_locked_database_delays_and_loses_nothing(path: Path, store: SqlStore) -> None:
    """While another process holds the lock records wait and the problem is told; then it goes."""
    writer = Writer(store)
    with structlog.testing.capture_logs() as logs:
        with locked(path):
            writer.put(STREAM)
            writer.put(final(1))
            wait_until(lambda: writer.problem is not None)
            with pytest.raises(StoreError, match="2 records still wait for the database"):
                writer.flush(0)
            problem_then = writer.problem
            writer.put(final(2))
        writer.flush(PATIENCE_S)
    assert (problem_then, writer.problem) == ("database is locked", None)
    assert numbers(store) == [1, 2]
    assert [it["event"] for it in logs] == ["store_write_failed", "store_write_recovered"]
    writer.close()


def test_a_full_writer_refuses_at_once(path: Path, store: SqlStore) -> None:
    """Past its bound it does not wait for the database; what it took before is written."""
    writer = Writer(store, bound=3)
    with locked(path):
        writer.put(STREAM)
        writer.put(final(1))
        writer.put(final(2))
        with pytest.raises(StoreError, match="3 records wait for the database"):
            writer.put(final(3))
    writer.flush(PATIENCE_S)
    writer.put(final(4))
    writer.close()
    assert numbers(store) == [1, 2, 4]


def test_closing_on_a_locked_database_tells_what_is_lost(path: Path, store: SqlStore) -> None:
    """When the time is over, close says how many records were not written and logs their kinds."""
    writer = Writer(store)
    with structlog.testing.capture_logs() as logs, locked(path):
        writer.put(STREAM)
        writer.put(final(1))
        writer.put(final(2))
        with pytest.raises(StoreError, match="3 records were not written: database is locked"):
            writer.close(0.2)
    lost = logs[-1]
    assert lost["event"] == "records_lost"
    assert (lost["StreamOpened"], lost["FinalHeard"]) == (1, 2)


def test_a_database_that_comes_back_while_closing_is_written(path: Path, store: SqlStore) -> None:
    """Close goes on trying until its time is over."""
    writer = Writer(store)
    with locked(path):
        writer.put(STREAM)
        wait_until(lambda: writer.problem is not None)
    writer.close(PATIENCE_S)
    assert [it.stream for it in store.streams()] == [1]


@pytest.mark.parametrize(
    "poison", [STREAM, final(1), final(9, stream=2), StreamClosed("nobody", 1, NOON, "peer", 0, 0)]
)
def test_a_poison_record_stops_nobody(store: SqlStore, poison: Record) -> None:
    """A record that is refused is logged by kind and id; those before and after are written."""
    writer = Writer(store)
    writer.put(STREAM)
    writer.put(final(1))
    writer.flush(PATIENCE_S)
    with structlog.testing.capture_logs() as logs:
        for record in (final(2), poison, final(3), poison, final(4)):
            writer.put(record)
        writer.flush(PATIENCE_S)
    assert numbers(store) == [1, 2, 3, 4]
    assert writer.problem is None
    assert [it["event"] for it in logs] == ["record_refused", "record_refused"]
    assert logs[0]["kind"] == type(poison).__name__
    assert "secret" not in str(logs)
    writer.close()


class FailingStore(MemoryStore):
    """Fails in a way that no adapter should, until it is told otherwise."""

    failing = True

    def write(self, records: object) -> None:
        """Fail or write."""
        if self.failing:
            raise ZeroDivisionError
        assert isinstance(records, list)
        super().write(records)


def test_an_unforeseen_error_does_not_end_the_writer() -> None:
    """Whatever the store raises, the records stay and are tried again."""
    store = FailingStore()
    writer = Writer(store)
    writer.put(STREAM)
    wait_until(lambda: writer.problem is not None)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        writer.flush(0)
    store.failing = False
    writer.flush(PATIENCE_S)
    assert [it.stream for it in store.streams()] == [1]
    writer.close()


def test_closing_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the pause between tries has become, close tries at once."""
    monkeypatch.setattr(writer_module, "SHORTEST_PAUSE_S", 3600)
    store = FailingStore()
    writer = Writer(store)
    writer.put(STREAM)
    wait_until(lambda: writer.problem is not None)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        writer.flush(0)
    store.failing = False
    writer.close(PATIENCE_S)
    assert [it.stream for it in store.streams()] == [1]


WRITES_AND_FLUSHES = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from stapes.store.records import FinalHeard, StreamOpened
from stapes.store.sql import open_store
from stapes.store.writer import Writer

now = datetime.now(UTC)
writer = Writer(open_store(Path(sys.argv[1])))
writer.put(StreamOpened("session", 1, "t", "c", "u", now, {}, "scripted"))
for number in range(1, 1501):
    writer.put(FinalHeard("session", 1, number, "word", 0, 0, 1.0, (), now))
writer.flush(60)
print("flushed", flush=True)
while True:
    number += 1
    writer.put(FinalHeard("session", 1, number, "word", 0, 0, 1.0, (), now))
    time.sleep(0.001)
"""


def test_kill_9_loses_nothing_that_was_flushed(path: Path) -> None:
    """A process that is killed while it writes leaves all it had flushed, and a sound database."""
    command = [sys.executable, "-c", WRITES_AND_FLUSHES, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "flushed\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    store = open_store(path)
    found = numbers(store)
    assert found[:1500] == list(range(1, 1501))
    assert found == list(range(1, len(found) + 1))
    store.check_writable()
    store.close()
