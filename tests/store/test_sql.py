"""What the SQL store does with its file."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, inspect

from stapes.accounts.audit import check
from stapes.errors import RecordRefusedError, StoreError
from stapes.identity.model import Tenancy
from stapes.store.records import (
    Audited,
    FinalHeard,
    SessionCreated,
    SigningKeyAdded,
    StreamClosed,
    StreamOpened,
    StreamResumable,
)
from stapes.store.sql import SqlStore, open_store
from stapes.store.tables import metadata

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOKEN = SessionCreated("session", "t", "c", "u", "kid", NOON, NOON, {})
STREAM = StreamOpened("session", 1, "t", "c", "u", NOON, {}, "scripted")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stapes.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    store = open_store(path)
    yield store
    store.close()


@pytest.fixture
def other(path: Path, store: SqlStore) -> Iterator[sqlite3.Connection]:
    """Another process's connection, as far as SQLite can tell."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def engine(path: Path, store: SqlStore) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def test_no_column_is_for_a_token() -> None:
    """Tokens are not kept; ``retry_token`` is a name that the client made up."""
    columns = [column.name for table in metadata.tables.values() for column in table.c]
    assert [name for name in columns if "token" in name] == ["retry_token"]


def test_the_database_is_its_owners_alone(path: Path, store: SqlStore) -> None:
    """The file and what SQLite puts beside it have mode 0600, whatever the umask."""
    store.write([Tenancy("tenancy", "stapes")])
    files = sorted(path.parent.glob("stapes.db*"))
    assert [file.name for file in files] == ["stapes.db", "stapes.db-shm", "stapes.db-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_opening_takes_a_database_from_others(path: Path) -> None:
    """A database that others could read is closed to them when it is opened."""
    open_store(path).close()
    path.chmod(0o644)
    open_store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 1),
        ("foreign_keys", 1),
        ("busy_timeout", 1000),
        ("secure_delete", 1),
    ],
)
def test_connections_are_set_up(store: SqlStore, pragma: str, value: object) -> None:
    """WAL, NORMAL, foreign keys and a busy timeout hold on the store's own connections."""
    with store._reading_engine.connect() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    """A store that is closed and opened again has the same records."""
    first = open_store(path)
    first.write([TOKEN, STREAM])
    first.close()
    second = open_store(path)
    assert [it.stream for it in second.streams()] == [1]
    second.close()


def test_opening_again_leaves_the_file_alone(path: Path) -> None:
    """A database with the newest schema is not written to when it is opened."""
    open_store(path).close()
    before = path.read_bytes()
    open_store(path).close()
    assert path.read_bytes() == before


def test_opening_waits_for_nobody_who_writes(path: Path, other: sqlite3.Connection) -> None:
    """A database with the newest schema is opened and read while another process writes."""
    other.execute("BEGIN IMMEDIATE")
    second = open_store(path)
    assert second.streams() == []
    second.close()


def test_two_may_open_a_new_database_at_once(path: Path) -> None:
    """Whoever comes second waits for the schema and does not make it again."""
    stores: list[SqlStore] = []
    threads = [threading.Thread(target=lambda: stores.append(open_store(path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.streams() for store in stores] == [[], [], [], []]
    for store in stores:
        store.close()


def test_a_newer_database_says_so(path: Path) -> None:
    """A database from a newer Stapes is refused with what to do, and not touched."""
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"schema 9999, made by a newer Stapes; upgrade Stapes"):
        open_store(path)
    assert path.read_bytes() == before


def test_nothing_of_a_forgotten_transcript_is_left_in_the_files(
    path: Path, store: SqlStore
) -> None:
    """Neither as a row nor as what a row once was, while the store is open."""
    store.write([STREAM, replace(STREAM, session_id="other")])
    for number in range(1, 40):
        final = FinalHeard("session", 1, number, "zebra crossing", 0, 0, 0.5, (), NOON)
        sent = [{"number": number, "transcription": "zebra crossing"}]
        point = StreamResumable("session", 1, 0, b"zebra crossing", sent, number, 0, 0, 0)
        store.write([final, point])
    store.write([StreamClosed("session", 1, NOON, "lost", 0, 0)])
    assert words_in_files(path) > 0
    store.forget_finals("session")
    assert words_in_files(path) == 0
    assert len(store.streams()) == 2


def words_in_files(path: Path) -> int:
    return sum(each.read_bytes().count(b"zebra") for each in path.parent.iterdir())


def test_forgetting_does_not_wait_for_another_reader(
    store: SqlStore, other: sqlite3.Connection
) -> None:
    """The write-ahead log is emptied another time."""
    store.write([STREAM, FinalHeard("session", 1, 1, "zebra", 0, 0, 0.5, (), NOON)])
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM finals").fetchone() == (1,)
    assert store.forget_finals("session") == 1
    other.execute("ROLLBACK")
    assert store.finals("session") == []


def test_a_migration_that_fails_leaves_nothing(path: Path) -> None:
    """The tables come all together or not at all."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE finals (x)")
    connection.close()
    with pytest.raises(StoreError, match="table finals already exists"):
        open_store(path)
    engine = create_engine(f"sqlite:///{path}")
    assert inspect(engine).get_table_names() == ["finals"]
    engine.dispose()


def test_a_file_that_is_no_database_says_so(path: Path) -> None:
    """Something else is not mistaken for a database, nor written over."""
    path.write_bytes(b"no database" * 100)
    with pytest.raises(
        StoreError, match=f"cannot open the database {path}: file is not a database"
    ):
        open_store(path)
    assert path.read_bytes() == b"no database" * 100


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    """The folder of a database is not made by the way."""
    with pytest.raises(StoreError, match="No such file or directory"):
        open_store(tmp_path / "missing" / "stapes.db")


def test_a_locked_database_is_a_store_error(store: SqlStore, other: sqlite3.Connection) -> None:
    """A lock that lasts fails the write, not the record: it may be tried again."""
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked") as caught:
        store.write([TOKEN])
    assert not isinstance(caught.value, RecordRefusedError)
    other.execute("ROLLBACK")
    store.write([TOKEN])


def test_a_locked_database_is_not_writable(store: SqlStore, other: sqlite3.Connection) -> None:
    """Checking whether the store is writable tells the reason when it is not."""
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked"):
        store.check_writable()


def test_reading_goes_on_while_another_writes(store: SqlStore, other: sqlite3.Connection) -> None:
    """A writer's lock does not stop readers."""
    store.write([STREAM])
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM streams")
    assert [it.stream for it in store.streams()] == [1]


@pytest.mark.parametrize(
    "record",
    [
        replace(TOKEN, claims={"key": object()}),
        replace(TOKEN, issued_at=NOON.replace(tzinfo=None)),
        replace(TOKEN, user_id="\ud800"),
        replace(STREAM, stream=2**70),
        replace(STREAM, engine=object()),  # type: ignore[arg-type]
        SigningKeyAdded("kid", {}, None),  # type: ignore[arg-type]
    ],
    ids=["no json", "naive time", "surrogate", "too large", "no text", "missing"],
)
def test_a_value_that_cannot_be_kept_refuses_its_record(store: SqlStore, record: Any) -> None:
    """What no try could write is told apart from a database in trouble."""
    with pytest.raises(RecordRefusedError):
        store.write([record])
    store.write([TOKEN])


def test_json_holds_what_utf_8_cannot_spell(store: SqlStore) -> None:
    """Half a surrogate pair, which a peer may have escaped in its JSON, comes back as it was."""
    details = {"tag": "\ud800", "more": ["é", "\x00", 1e300, True, None]}
    store.write([Audited(NOON, "u", "session.revoked", "s", "t", details)])

    (row,) = store.audit()
    assert row.details == details
    assert check([row]).fault is None


def test_a_claim_that_cannot_be_kept_is_refused(store: SqlStore) -> None:
    """Also when the session has streams already."""
    store.claim_stream(STREAM)
    with pytest.raises(RecordRefusedError):
        store.claim_stream(replace(STREAM, params={"key": object()}))
    assert len(store.streams()) == 1


def test_a_database_that_is_gone_is_a_store_error(path: Path, store: SqlStore) -> None:
    """A database whose tables are gone fails reads and writes with a store error."""
    store.close()
    for file in path.parent.glob("stapes.db*"):
        os.truncate(file, 0)
    with pytest.raises(StoreError, match="no such table"):
        store.finals("session")
    with pytest.raises(StoreError, match="no such table"):
        store.write([TOKEN])


def test_the_metadata_names_every_table(engine: Engine) -> None:
    """There is no table that only a migration knows, but Alembic's own."""
    found = MetaData()
    found.reflect(engine)
    assert set(found.tables) - set(metadata.tables) == {"alembic_version"}
