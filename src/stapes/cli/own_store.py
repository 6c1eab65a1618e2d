"""A home and its store, for commands that work on them directly, while a server runs or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stapes.server.home import Home
    from stapes.settings import Settings
    from stapes.store.port import Store


@dataclass(frozen=True, slots=True)
class Own:
    """A home with its settings and its open store."""

    settings: Settings
    home: Home
    store: Store


@contextmanager
def open_own(home: Path | None, *, with_keys: bool = True) -> Iterator[Own]:
    """Open the home that the option or the settings name; its store is closed at the end.

    Without ``with_keys`` it does not matter whether its token-signing keys open.

    Raises `stapes.errors.HomeError`, `stapes.errors.StoreError`.
    """
    from stapes.server.home import open_home, open_home_without_keys
    from stapes.settings import load
    from stapes.store.sql import open_store

    settings = load(home=home)
    open_ = open_home if with_keys else open_home_without_keys
    opened = open_(settings.home, master_key=settings.master_key, database=settings.database)
    store = open_store(opened.database)
    try:
        yield Own(settings, opened, store)
    finally:
        store.close()
