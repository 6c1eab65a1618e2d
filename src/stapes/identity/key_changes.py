"""The changes of users' keys, to sign with and to bear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stapes.errors import NameTakenError
from stapes.identity.change import PLACES, Change, key_of
from stapes.identity.model import ApiKey, BearerKey, Directory, Identity
from stapes.identity.naming import find_key, find_user


def add_key(directory: Directory, key: ApiKey | BearerKey) -> Change:
    """Add a key of its user. Raises `NameTakenError` when the very key is there already."""
    kept: Mapping[Any, Identity] = getattr(directory, PLACES[type(key)])
    if key_of(key) in kept:
        raise NameTakenError(f"there is a key {name_of(key)} already")
    return _of_key("added", directory, key, written=(key,))


def enable_key(
    directory: Directory, tenancy_id: str, user: str, key: str, *, enabled: bool
) -> Change:
    """Say whether a key may be used, from now on. Raises `UnknownIdentityError`."""
    old = find_key(directory, find_user(directory, tenancy_id, user), key)
    new = replace(old, enabled=enabled)
    return _of_key("enabled" if enabled else "disabled", directory, new, written=(new,))


def remove_key(directory: Directory, tenancy_id: str, user: str, key: str) -> Change:
    """Remove a key; tokens minted with it live on. Raises `UnknownIdentityError`."""
    gone = find_key(directory, find_user(directory, tenancy_id, user), key)
    return _of_key("removed", directory, gone, removed=(gone,))


def name_of(key: ApiKey | BearerKey) -> str:
    """What a key is called: its fingerprint, or its id."""
    return key.fingerprint if isinstance(key, ApiKey) else key.id


def _of_key(
    verb: str,
    directory: Directory,
    key: ApiKey | BearerKey,
    *,
    written: tuple[Identity, ...] = (),
    removed: tuple[Identity, ...] = (),
) -> Change:
    user = directory.users[key.user_id]
    expires = key.expires_at.isoformat() if key.expires_at else None
    kind = "api" if isinstance(key, ApiKey) else "bearer"
    details = {"user": user.name, "userId": user.id, "kind": kind, "timeExpires": expires}
    subject = name_of(key)
    return Change(f"key.{verb}", subject, user.tenancy_id, written, removed, details=details)
