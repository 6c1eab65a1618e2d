"""The home that a command works on, and its store, which a running server may have open too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stapes.server.home import Home
    from stapes.store.port import Store


@contextmanager
def open_home_store(home: Path | None) -> Iterator[tuple[Home, Store]]:
    """The home, and its store until the block ends; None stands for what the settings say.

    Raises `stapes.errors.HomeError` and `stapes.errors.StoreError`.
    """
    from stapes.server.home import open_home
    from stapes.settings import load
    from stapes.store.sql import open_store

    opened = open_home(load(home=home).home)
    store = open_store(opened.database)
    try:
        yield opened, store
    finally:
        store.close()
