"""What the tests of homes ask of one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from stapes.identity.model import Directory
from stapes.server.home import Home
from stapes.store.sql import open_store

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MASTER = SecretStr("a master key of some length")


def files(path: Path) -> list[Path]:
    return sorted(it for it in path.rglob("*") if it.is_file())


def state(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that a second run could change about the files."""
    return {
        str(it.relative_to(path)): (it.stat().st_ino, it.stat().st_mtime_ns, it.read_bytes())
        for it in files(path)
    }


def directory(home: Home) -> Directory:
    store = open_store(home.database)
    found = store.directory()
    store.close()
    return found


def signing_key_file(home: Home) -> Path:
    (file,) = (home.path / "keys").iterdir()
    return file


def is_encrypted(home: Home) -> bool:
    return b"ENCRYPTED" in signing_key_file(home).read_bytes()
