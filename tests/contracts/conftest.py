"""Every store that there is, for the tests of their contract."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from stapes.store.memory import MemoryStore
from stapes.store.port import Store
from stapes.store.sql import open_store

Opening = Callable[[], Store]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with the newest schema and nothing in it, to copy."""
    path = tmp_path_factory.mktemp("migrated") / "stapes.db"
    open_store(path).close()
    return path


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def opening(
    request: pytest.FixtureRequest, tmp_path: Path, migrated_file: Path
) -> Iterator[Opening]:
    """Opens the test's own database, as often as one likes: as each server would."""
    shutil.copy(migrated_file, tmp_path)
    with ExitStack() as stack:
        memory = MemoryStore()

        def open_another() -> Store:
            if request.param == "memory":
                return memory
            where: Path | SecretStr = tmp_path / "stapes.db"
            if request.param == "postgresql":
                where = request.getfixturevalue("postgres_url")
            store = open_store(where)
            stack.callback(store.close)
            return store

        yield open_another


@pytest.fixture
def store(opening: Opening) -> Store:
    return opening()
