"""What is special about SQLite, apart from everything else the SQL adapter does."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import URL, Connection, Engine, create_engine, event

BUSY_TIMEOUT_MS = 1000
"""Wait for another process's lock, ms. Short, because the writer tries again by itself."""

PRAGMAS = (
    # First, so that the others wait for a lock rather than fail.
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    # With WAL a killed process loses nothing that was committed; a power cut may lose the last
    # commits, and never the file.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    # What is deleted is overwritten: a transcript that was taken back is not left in free pages.
    "PRAGMA secure_delete = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA wal_autocheckpoint = 4000",
)


def open_engines(path: Path) -> tuple[Engine, Engine]:
    """Engines to read and to write with, over a file made with mode 0600 when it is not there.

    SQLite gives its ``-wal`` and ``-shm`` files the mode of the database. Raises `OSError`.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, pool_use_lifo=True, json_serializer=_to_text)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    # Writing takes the lock at once: a transaction that reads first and writes later fails, without
    # waiting, when another process wrote in between.
    return engine, engine.execution_options(begin="BEGIN IMMEDIATE")


def empty_log(engine: Engine) -> None:
    """Empty the write-ahead log, in which what was deleted can be read still.

    While another process reads or writes for longer than `BUSY_TIMEOUT_MS` it stays as it is, until
    the next time.
    """
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _to_text(value: Any) -> str:
    """What a JSON column holds. The standard library took a third of the time of writing it."""
    try:
        return to_json(value).decode()
    except ValueError:  # half a surrogate pair, which UTF-8 cannot spell
        return json.dumps(value)


def _on_connect(dbapi_connection: Any, _record: object) -> None:
    for pragma in PRAGMAS:
        dbapi_connection.execute(pragma)


def _on_begin(connection: Connection) -> None:
    # Python's sqlite3 would begin one before INSERT and its like only: not before DDL, so that a
    # migration could not be taken back, nor before SELECT.
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
