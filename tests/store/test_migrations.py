"""What the migrations make of a database, and keep of what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import SecretStr

from stapes.identity.model import Binding, Verb
from stapes.protocol.words import Word
from stapes.store import postgres, sqlite
from stapes.store.port import SessionFilter, StreamSummary, Versions
from stapes.store.records import Audited
from stapes.store.schema import MIGRATIONS
from stapes.store.sql import open_store
from stapes.store.tables import EPOCH, metadata
from tests.postgres import PostgresServer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_US = (NOON - EPOCH) // timedelta(microseconds=1)

STATEMENTS = [
    "Allow group Staff to use ai-service-speech-family in compartment speech:ward",
    "Allow group Nobody to manage ai-service-speech-family in tenancy",
    "Allow any-user to inspect ai-service-speech-family in tenancy",
    "This was never understood",
]
CLAIMS = {"sub": "u", "limits": {"single-use": True}}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("tenancies", {"id": "t", "name": "stapes"}),
    ("compartments", {"id": "c1", "name": "speech", "parent_id": "t", "tenancy_id": "t"}),
    ("compartments", {"id": "c2", "name": "ward", "parent_id": "c1", "tenancy_id": "t"}),
    ("users", {"id": "u", "name": "administrator", "tenancy_id": "t"}),
    ("groups", {"id": "g", "name": "Staff", "tenancy_id": "t", "user_ids": ["u"]}),
    ("policies", {"id": "p", "name": "staff", "tenancy_id": "t", "statements": STATEMENTS}),
    ("api_keys", {"user_id": "u", "fingerprint": "aa", "public_pem": "pem", "enabled": True}),
    ("signing_keys", {"kid": "kid", "public_jwk": {"kty": "OKP"}, "added_at": NOON_US}),
    (
        "tokens",
        {
            "session_id": "s",
            "tenancy_id": "t",
            "compartment_id": "c1",
            "user_id": "u",
            "kid": "kid",
            "issued_at": NOON_US,
            "expires_at": NOON_US + 3_600_000_000,
            "claims": CLAIMS,
            "freeform_tags": {"ward": "7"},
            "retry_token": "retry",
            "body_sha256": "digest",
        },
    ),
    *(
        (
            "streams",
            {
                "session_id": "s",
                "stream": number,
                "tenancy_id": "t",
                "compartment_id": "c1",
                "user_id": "u",
                "opened_at": NOON_US,
                "params": {"languageCode": "en-US"},
                "engine": "scripted",
                **end,
            },
        )
        for number, end in [
            (1, {"closed_at": NOON_US + 2_500_000, "reason": "peer", "audio_ms": 2400}),
            (2, {}),
        ]
    ),
    (
        "finals",
        {
            "session_id": "s",
            "stream": 1,
            "number": 1,
            "text": "grüß gott",
            "start_ms": 0,
            "end_ms": 900,
            "confidence": 0.5,
            "words": [["grüß", 0, 400, 0.5], ["gott", 500, 900, 0.5]],
            "word_count": 2,
            "heard_at": NOON_US,
        },
    ),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | SecretStr]:
    """Where a new database is, with nothing in it."""
    if request.param == "sqlite":
        yield tmp_path / "stapes.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@pytest.fixture
def engine(database: Path | SecretStr) -> Iterator[sa.Engine]:
    """To write to it."""
    opened = (
        sqlite.open_engines(database)
        if isinstance(database, Path)
        else postgres.open_engines(database)
    )
    yield opened[1]
    opened[1].dispose()


@pytest.fixture
def first(engine: sa.Engine) -> None:
    """A database as the first version left it, with something in every table."""
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        found = sa.MetaData()
        found.reflect(connection)
        for table, row in ROWS:
            connection.execute(found.tables[table].insert().values(**row))


def check_schema(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        inspector = sa.inspect(connection)
        assert {
            name: inspector.get_pk_constraint(name)["constrained_columns"]
            for name in metadata.tables
        } == {
            name: [column.name for column in table.primary_key]
            for name, table in metadata.tables.items()
        }


def test_a_new_schema_is_that_of_the_tables(engine: sa.Engine, database: Path | SecretStr) -> None:
    """Alembic finds nothing to change in a new database."""
    open_store(database).close()
    check_schema(engine)


@pytest.mark.usefixtures("first")
def test_a_migrated_schema_is_that_of_the_tables(
    engine: sa.Engine, database: Path | SecretStr
) -> None:
    """Nor in one that went through every version with data in it."""
    open_store(database).close()
    check_schema(engine)


@pytest.mark.usefixtures("first")
def test_migrating_keeps_who_exists(database: Path | SecretStr) -> None:
    """Identities and keys are there, and statements are bound as things are named now.

    One that granted nothing, since it names nobody or cannot be read, is bound to nothing.
    """
    with closing(open_store(database)) as store:
        directory = store.directory()
        (key,) = store.signing_keys()
        assert store.versions() == Versions()
    assert directory.users["u"].name == "administrator"
    assert directory.groups["g"].user_ids == frozenset({"u"})
    assert directory.policies["p"].statements == tuple(STATEMENTS)
    assert directory.policies["p"].bindings == (
        Binding("g", Verb.USE, "c2"),
        Binding(None, Verb.INSPECT, "t"),
    )
    api_key = directory.api_keys["u", "aa"]
    assert (api_key.public_pem, api_key.enabled, api_key.expires_at) == ("pem", True, None)
    assert (key.kid, key.added_at, key.retires_at) == ("kid", NOON, None)


@pytest.mark.usefixtures("first")
def test_migrating_keeps_what_happened(database: Path | SecretStr) -> None:
    """Tokens are sessions, and streams have amounts: those that can be told."""
    with closing(open_store(database)) as store:
        (session,) = store.sessions(SessionFilter(), NOON, limit=9)
        (retried,) = store.retried_since(NOON, most=9)
        closed, live = sorted(store.streams(), key=lambda stream: stream.stream)
        (final,) = store.finals("s")
    assert (session.state, session.streams, session.claims) == ("LIVE", 2, CLAIMS)
    assert (retried.retry_token, retried.defined_tags, retried.server_id) == ("retry", None, "")
    assert closed == StreamSummary(
        "s", 1, "t", "c1", "u", "scripted", NOON, NOON + timedelta(seconds=2.5), "peer",
        audio_ms=2400, speech_ms=0, wall_ms=2500, words=2, finals=1, freeform_tags={"ward": "7"},
    )  # fmt: skip
    assert (live.audio_ms, live.wall_ms, live.words, live.closed_at) == (0, 0, 0, None)
    assert final.words == (Word("grüß", 0, 400, 0.5), Word("gott", 500, 900, 0.5))


@pytest.mark.usefixtures("first")
def test_a_migrated_database_is_written_to(database: Path | SecretStr) -> None:
    """Streams that a version before left open are ended, and the audit log begins."""
    with closing(open_store(database)) as store:
        assert store.close_lost(NOON) == 1
        store.write([Audited(NOON, "local:me", "home.migrated", "")])
        assert [row.seq for row in store.audit()] == [1]
