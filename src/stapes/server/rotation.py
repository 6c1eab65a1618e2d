"""Change the key that signs tokens, with an overlap in which those of the old one still verify.

It writes to the home and the store; servers that run read both again within a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from stapes.errors import HomeError
from stapes.server.home import Home
from stapes.server.key_files import (
    new_signing_key,
    signing_key_file,
    signing_key_files,
    write_signing_key,
)
from stapes.server.keyring import Keyring, make_keyring
from stapes.server.retries import REMEMBERED_FOR
from stapes.store.port import Store
from stapes.store.records import Audited, SigningKeyAdded, SigningKeyRetired
from stapes.tokens.keys import SigningKey, jwk

MARGIN = timedelta(seconds=60)
"""For servers that still sign with the old key, until they have read of the new one."""

FILE_KEPT_FOR = REMEMBERED_FOR + timedelta(hours=1)
"""How long a retired key's file stays: a request that is repeated is signed again with it."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Who rotates, when, and for how long the tokens of the old keys have to verify.

    ``overlap`` is None when old keys retire at once.
    """

    actor: str
    now: datetime
    overlap: timedelta | None

    @property
    def retires_at(self) -> datetime:
        """When a key that is retired now is refused."""
        return self.now if self.overlap is None else self.now + self.overlap


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: the new key's kid, and the old ones with the time they are refused."""

    kid: str
    retired: dict[str, datetime]
    deleted: list[str]


def overlap(token_ttl_s: float, token_skew_s: float) -> timedelta:
    """How long a key has to verify after its last token: the longest life, the skew, a margin."""
    return timedelta(seconds=token_ttl_s + token_skew_s) + MARGIN


def read_keyring(home: Home, store: Store) -> Keyring:
    """The keys as they are now. Raises `HomeError`, `stapes.errors.StoreError`."""
    return make_keyring(store.signing_keys(), home.signing_keys())


def rotate(home: Home, store: Store, how: Rotation) -> Rotated:
    """Make a new key that signs from now on, and retire all others.

    Files of keys that retired long ago are deleted. Raises `HomeError` and
    `stapes.errors.StoreError`; then a file may be left that nothing uses.
    """
    with _changing(home):
        keyring = read_keyring(home, store)
        retired = dict(_retiring(keyring, how))
        key = new_signing_key()
        # The file first, and it stays whatever happens: a database may have committed what it then
        # fails to confirm, and a key that it knows and nobody has would retire the others.
        write_signing_key(home.keys_folder, key, home.master_key)
        store.write(_records(home, key, retired, how))
        return Rotated(key.kid, retired, _delete_old_files(home, keyring, how.now))


def replace_lost(home: Home, store: Store, how: Rotation) -> Rotated:
    """Make a new key where private parts are lost, or do not open any more.

    All that the store knows are retired; what they signed verifies until then. Files of other keys
    are renamed to ``lost-…``: none is in the way, and none is gone. Raises as `rotate` does.
    """
    with _changing(home):
        retired = dict(_retiring(make_keyring(store.signing_keys(), {}), how))
        home.keys_folder.mkdir(mode=0o700, exist_ok=True)
        lost = signing_key_files(home.keys_folder)
        key = new_signing_key()
        write_signing_key(home.keys_folder, key, home.master_key)
        store.write(_records(home, key, retired, how))
        for path in lost:
            path.rename(path.with_name(path.name.replace("token-", "lost-", 1)))
        return Rotated(key.kid, retired, [])


def retire(home: Home, store: Store, kid: str, how: Rotation) -> datetime:
    """Retire one key; returns from when on it is refused.

    Raises `HomeError` when there is no such key, it is retired, or no other could sign.
    """
    with _changing(home):
        keyring = read_keyring(home, store)
        if kid not in keyring.retires_at:
            raise HomeError(f"there is no signing key {kid}; `stapes keys list` has them")
        if keyring.is_retired(kid, how.now):
            raise HomeError(f"the signing key {kid} is retired already")
        if not _others_in_use(keyring, kid):
            raise HomeError(f"no other key than {kid} could sign; run `stapes keys rotate` instead")
        moment = min(how.retires_at, keyring.retires_at[kid] or how.retires_at)
        details = {"retiresAt": moment.isoformat()}
        audited = Audited(how.now, how.actor, "key.retired", kid, home.tenancy_id, details)
        store.write([SigningKeyRetired(kid, moment), audited])
        return moment


@contextmanager
def _changing(home: Home) -> Iterator[None]:
    """One change at a time; what the disk refuses is the home's error."""
    try:
        with home.locked():
            yield
    except OSError as error:
        raise HomeError(f"cannot change the keys in {home.keys_folder}: {error}") from error


def _retiring(keyring: Keyring, how: Rotation) -> Iterable[tuple[str, datetime]]:
    for kid, moment in keyring.retires_at.items():
        if moment is None or moment > how.retires_at:
            yield kid, how.retires_at


def _records(
    home: Home, key: SigningKey, retired: dict[str, datetime], how: Rotation
) -> list[SigningKeyAdded | SigningKeyRetired | Audited]:
    details = {"retired": {kid: moment.isoformat() for kid, moment in retired.items()}}
    return [
        SigningKeyAdded(key.kid, jwk(key.private_key.public_key()), how.now),
        *(SigningKeyRetired(kid, moment) for kid, moment in retired.items()),
        Audited(how.now, how.actor, "key.rotated", key.kid, home.tenancy_id, details),
    ]


def _others_in_use(keyring: Keyring, kid: str) -> bool:
    return any(
        keyring.retires_at[other] is None and other in keyring.private
        for other in keyring.public
        if other != kid
    )


def _delete_old_files(home: Home, keyring: Keyring, now: datetime) -> list[str]:
    old = [
        kid
        for kid, moment in keyring.retires_at.items()
        if moment is not None and moment + FILE_KEPT_FOR < now and kid in keyring.private
    ]
    for kid in old:
        signing_key_file(home.keys_folder, kid).unlink(missing_ok=True)
    return old
