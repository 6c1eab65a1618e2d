"""What is special about PostgreSQL: its URL, its errors, its locks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy
from pydantic import SecretStr

from stapes.errors import RecordRefusedError, StoreError
from stapes.identity.model import Tenancy, User
from stapes.store import postgres as postgres_module
from stapes.store.port import SessionFilter
from stapes.store.postgres import name_of, open_engines, parse_url
from stapes.store.records import FinalHeard, Revoked, SessionCreated, StreamOpened
from stapes.store.sql import SqlStore, open_store
from stapes.store.writing import write_records
from tests.postgres import PostgresServer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOKEN = SessionCreated("session", "t", "c", "u", "kid", NOON, NOON, {})
STREAM = StreamOpened("session", 1, "t", "c", "u", NOON, {}, "scripted")


@pytest.fixture
def store(postgres_url: SecretStr) -> Iterator[SqlStore]:
    with closing(open_store(postgres_url)) as store:
        yield store


@pytest.fixture
def other(postgres_url: SecretStr) -> Iterator[psycopg.Connection[Any]]:
    """Another process's connection."""
    with closing(psycopg.connect(postgres_url.get_secret_value())) as connection:
        yield connection


@pytest.fixture
def new_database(postgres: PostgresServer) -> Iterator[SecretStr]:
    with postgres.database() as url:
        yield url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_is_taken_in_its_usual_forms(scheme: str) -> None:
    """Whatever it calls the driver."""
    url = parse_url(SecretStr(f"{scheme}://me:secret@db.example:5433/stapes?sslmode=require"))
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port) == ("me", "secret", "db.example", 5433)
    assert url.query["sslmode"] == "require"


def test_a_urls_own_timeouts_stand() -> None:
    """What the URL says goes over what we would say."""
    url = parse_url(SecretStr("postgresql://h/d?connect_timeout=60&options=-c lock_timeout=9s"))
    assert url.query["connect_timeout"] == "60"
    options = url.query["options"]
    assert isinstance(options, str)
    assert options.endswith("-c lock_timeout=9s")
    assert "-c statement_timeout=10s" in options


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no url secret",
        "sqlite:///secret.db",
        "mysql://me:secret@h/d",
        "postgresql://me:secret@h",
        "postgresql://me:secret@h:secret/d",
        "postgresql://me:se:cret@h:x/d",
    ],
)
def test_what_is_no_url_says_so_and_keeps_its_secret(text: str) -> None:
    """The form is named, and nothing of what was given."""
    with pytest.raises(StoreError, match="is no URL of a PostgreSQL database") as caught:
        open_store(SecretStr(text))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_is_not_taken_from_the_query() -> None:
    """There it would not be known for one."""
    with pytest.raises(StoreError, match="put it before the @"):
        parse_url(SecretStr("postgresql://h/d?password=hunter2"))


def test_messages_name_database_and_host_alone() -> None:
    """No user, no password."""
    assert name_of(SecretStr("postgresql://me:secret@h:5433/d")) == "d on h"
    assert name_of(SecretStr("postgresql:///d?host=/run/postgresql")) == "d on /run/postgresql"


def test_a_missing_driver_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with what to run."""
    monkeypatch.setattr(postgres_module, "DRIVER", "no_such_driver")
    with pytest.raises(StoreError) as caught:
        open_store(SecretStr("postgresql://h/d"))
    assert str(caught.value).endswith("run `pip install 'stapes[postgres]'`")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_told() -> None:
    """In one line, with no password in it."""
    with pytest.raises(StoreError, match=r"cannot open the database d on 127\.0\.0\.1: ") as caught:
        open_store(SecretStr("postgresql://me:secret@127.0.0.1:1/d"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_connections_are_set_up(postgres_url: SecretStr) -> None:
    """Short waits, and a snapshot for those who read."""
    reading, writing = open_engines(postgres_url)
    names = ("lock_timeout", "statement_timeout", "transaction_isolation", "transaction_read_only")
    found = []
    for engine in (reading, writing):
        with engine.connect() as connection:
            found.append([connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names])
    reading.dispose()
    assert found == [
        ["1s", "10s", "repeatable read", "on"],
        ["1s", "10s", "read committed", "off"],
    ]


def test_several_may_open_a_new_database_at_once(new_database: SecretStr) -> None:
    """Whoever comes second waits for the schema and does not make it again."""
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(open_store, [new_database] * 4))
    assert [store.streams() for store in stores] == [[], [], [], []]
    for store in stores:
        store.close()


def test_a_newer_database_says_so(new_database: SecretStr) -> None:
    """A database from a newer Stapes is refused with what to do."""
    open_store(new_database).close()
    with psycopg.connect(new_database.get_secret_value()) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"schema 9999, made by a newer Stapes; upgrade Stapes"):
        open_store(new_database)


def test_a_migration_that_fails_leaves_nothing(new_database: SecretStr) -> None:
    """The tables come all together or not at all."""
    with psycopg.connect(new_database.get_secret_value()) as connection:
        connection.execute("CREATE TABLE finals (x int)")
    with pytest.raises(StoreError, match='relation "finals" already exists'):
        open_store(new_database)
    engine = sqlalchemy.create_engine(parse_url(new_database))
    assert sqlalchemy.inspect(engine).get_table_names() == ["finals"]
    engine.dispose()


def test_a_lock_that_lasts_is_a_store_error(
    store: SqlStore, other: psycopg.Connection[Any]
) -> None:
    """It fails the write, not the record: it may be tried again."""
    other.execute("LOCK TABLE tenancies")
    with pytest.raises(StoreError, match="lock timeout") as caught:
        store.write([Tenancy("t", "stapes")])
    assert not isinstance(caught.value, RecordRefusedError)
    other.rollback()
    store.write([Tenancy("t", "stapes")])


def test_tables_that_are_gone_are_a_store_error(new_database: SecretStr) -> None:
    """What is wrong with the database is no fault of the record, which waits."""
    with closing(open_store(new_database)) as store:
        with psycopg.connect(new_database.get_secret_value()) as connection:
            connection.execute("DROP TABLE sessions")
        with pytest.raises(StoreError, match='"sessions" does not exist') as caught:
            store.write([TOKEN])
    assert not isinstance(caught.value, RecordRefusedError)


def test_a_lost_connection_is_made_again(store: SqlStore, other: psycopg.Connection[Any]) -> None:
    """A database that was started anew serves the next request."""
    store.write([TOKEN])
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND application_name = 'stapes'"
    )
    store.write([STREAM])
    assert len(store.streams()) == 1


@pytest.mark.parametrize(
    "record",
    [
        replace(TOKEN, claims={"key": object()}),
        replace(TOKEN, issued_at=NOON.replace(tzinfo=None)),
        replace(TOKEN, user_id="\ud800"),
        replace(TOKEN, user_id="\x00"),
        replace(STREAM, stream=2**70),
        replace(STREAM, stream=2**40),
        replace(STREAM, engine=object()),  # type: ignore[arg-type]
        replace(STREAM, opened_at=None),  # type: ignore[arg-type]
        User("user", "orphan", "nobody's"),
    ],
    ids=["no json", "naive", "surrogate", "nul", "huge", "large", "no text", "missing", "orphan"],
)
def test_a_value_that_cannot_be_kept_refuses_its_record(store: SqlStore, record: Any) -> None:
    """What no try could write is told apart from a database in trouble."""
    with pytest.raises(RecordRefusedError):
        store.write([record])
    store.write([TOKEN])


def test_a_claim_that_cannot_be_kept_is_refused(store: SqlStore) -> None:
    """Also when the session has streams already."""
    store.claim_stream(STREAM)
    with pytest.raises(RecordRefusedError):
        store.claim_stream(replace(STREAM, params={"key": object()}))
    assert len(store.streams()) == 1


def test_a_refusal_does_not_repeat_the_words(store: SqlStore) -> None:
    """The row that PostgreSQL adds to some of its errors is left out."""
    final = FinalHeard("session", 1, 1, "spoken words", 0, 1, None, (), NOON)  # type: ignore[arg-type]
    store.write([STREAM])
    with pytest.raises(RecordRefusedError, match="null value in column") as caught:
        store.write([final])
    assert "spoken" not in str(caught.value)


def test_those_who_read_see_one_moment(store: SqlStore, postgres_url: SecretStr) -> None:
    """A directory is a snapshot: of a change between its tables it has all or nothing."""
    stop = threading.Event()
    tenancy, user = Tenancy("t", "one"), User("u", "one", "t")
    store.write([tenancy, user])

    def rename() -> None:
        with closing(open_store(postgres_url)) as writer:
            for number in range(10_000):
                if stop.is_set():
                    return
                writer.write([replace(tenancy, name=str(number)), replace(user, name=str(number))])

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for _ in range(100):
            directory = store.directory()
            names = {directory.tenancies["t"].name, directory.users["u"].name}
            assert len(names) == 1
    finally:
        stop.set()
        thread.join()


def test_a_revocation_misses_no_session_that_is_being_written(
    store: SqlStore, postgres_url: SecretStr
) -> None:
    """It waits for those whose writing has begun, and marks them too."""
    revoked = Revoked("t", "session", "session", NOON)
    with closing(open_store(postgres_url)) as another, ThreadPoolExecutor(1) as thread:
        with store._writing() as connection:
            write_records(connection, [TOKEN])
            revoking = thread.submit(another.write, [revoked])
            with pytest.raises(TimeoutError):
                revoking.result(0.2)
        revoking.result(10)
    (session,) = store.sessions(SessionFilter(), NOON, limit=1)
    assert session.state == "REVOKED"
