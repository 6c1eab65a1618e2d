"""Rotation: the new key signs at once, old ones verify long enough, and one can always sign."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from stapes.accounts.audit import check
from stapes.errors import HomeError, StoreError, TokenKeyError
from stapes.server.home import Home, open_home, open_home_without_keys
from stapes.server.key_files import is_encrypted, signing_key_file
from stapes.server.new_home import create_home
from stapes.server.rotation import (
    FILE_KEPT_FOR,
    Rotation,
    overlap,
    read_keyring,
    replace_lost,
    retire,
    rotate,
)
from stapes.store.port import Store
from stapes.store.records import Record, SigningKeyAdded
from stapes.store.sql import open_store
from stapes.tokens.keys import SigningKey, jwk
from stapes.tokens.minting import mint
from stapes.tokens.verification import verify
from tests.tokens.claimed import some_claims

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TTL_S, SKEW_S = 3600, 30
OVERLAP = overlap(TTL_S, SKEW_S)
HOW = Rotation("local:ada", NOON, OVERLAP)
AT_ONCE = replace(HOW, overlap=None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home", NOON - timedelta(days=1))[0]


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    store = open_store(home.database)
    yield store
    store.close()


def token(key: SigningKey, now: datetime) -> str:
    """A token of the longest life."""
    return mint(some_claims(now, ttl_s=TTL_S), key)


def open_with(home: Home, store: Store, text: str, now: datetime) -> str:
    """Verify a token as a server does at ``now``."""
    keys = read_keyring(home, store).verifying(now)
    return verify(text, keys, "stapes", "stapes-realtime", now, SKEW_S).user_id


def current(home: Home, store: Store, now: datetime = NOON) -> SigningKey:
    key = read_keyring(home, store).signing(now)
    assert key is not None
    return key


def actions(store: Store) -> list[tuple[str, str, str]]:
    assert check(store.audit()).fault is None
    return [(row.actor, row.action, row.subject) for row in store.audit()]


def test_the_new_key_signs_at_once(home: Home, store: Store) -> None:
    """Its file and its record are there, and servers are told to read again."""
    old = current(home, store)
    before = store.versions().keys
    done = rotate(home, store, HOW)
    assert current(home, store).kid == done.kid != old.kid
    assert signing_key_file(home.keys_folder, done.kid).exists()
    assert done.retired == {old.kid: NOON + OVERLAP}
    assert store.versions().keys > before
    assert actions(store) == [("local:ada", "key.rotated", done.kid)]
    assert store.audit()[0].details == {"retired": {old.kid: (NOON + OVERLAP).isoformat()}}


def test_old_tokens_verify_until_they_expire_and_the_old_key_is_then_refused(
    home: Home, store: Store
) -> None:
    """Also one that a server signed which had not heard of the rotation for a minute."""
    old = current(home, store)
    rotate(home, store, HOW)
    late = token(old, NOON + timedelta(seconds=59))
    last_second = NOON + timedelta(seconds=59 + TTL_S + SKEW_S - 1)
    assert open_with(home, store, late, last_second) == "user"
    fresh = token(old, NOON + OVERLAP)
    with pytest.raises(TokenKeyError):
        open_with(home, store, fresh, NOON + OVERLAP)
    assert open_with(home, store, token(current(home, store), NOON), NOON) == "user"


def test_at_once_kills_live_tokens(home: Home, store: Store) -> None:
    """A key that somebody else has is refused from this instant on, also one that was retiring."""
    keys = [current(home, store)]
    rotate(home, store, HOW)
    keys.append(current(home, store))
    done = rotate(home, store, AT_ONCE)
    assert done.retired == {key.kid: NOON for key in keys}
    for key in keys:
        with pytest.raises(TokenKeyError):
            open_with(home, store, token(key, NOON), NOON)
    assert current(home, store).kid == done.kid


def test_a_second_rotation_gives_the_first_key_no_more_time(home: Home, store: Store) -> None:
    """The earliest moment counts."""
    first = current(home, store)
    rotate(home, store, HOW)
    later = rotate(home, store, replace(HOW, now=NOON + timedelta(minutes=5)))
    assert first.kid not in later.retired
    assert read_keyring(home, store).retires_at[first.kid] == NOON + OVERLAP


def test_files_go_when_nobody_can_ask_for_their_signature_any_more(
    home: Home, store: Store
) -> None:
    """A repeated request is answered with the first token for a day."""
    old = current(home, store)
    rotate(home, store, HOW)
    file = signing_key_file(home.keys_folder, old.kid)
    kept = rotate(home, store, replace(HOW, now=NOON + OVERLAP + FILE_KEPT_FOR))
    assert (kept.deleted, file.exists()) == ([], True)
    gone = rotate(
        home, store, replace(HOW, now=NOON + OVERLAP + FILE_KEPT_FOR + timedelta(seconds=1))
    )
    assert (gone.deleted, file.exists()) == ([old.kid], False)
    assert old.kid in read_keyring(home, store).public
    assert timedelta(days=1) < FILE_KEPT_FOR


def test_new_keys_are_encrypted_like_the_others(tmp_path: Path) -> None:
    """With the home's master key."""
    home, _ = create_home(
        tmp_path / "locked", NOON, master_key=SecretStr("a master key of some length")
    )
    store = open_store(home.database)
    done = rotate(home, store, HOW)
    store.close()
    assert is_encrypted(signing_key_file(home.keys_folder, done.kid))
    assert len(home.signing_keys()) == 2


class FullStore:
    """A store that cannot be written; everything else is the real one's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def write(self, records: list[Record]) -> None:
        raise StoreError("the disk is full")


def test_a_store_that_cannot_be_written_leaves_the_old_key_in_use(home: Home, store: Store) -> None:
    """The new key's file is there and signs nothing."""
    old = current(home, store)
    with pytest.raises(StoreError):
        rotate(home, FullStore(store), HOW)  # type: ignore[arg-type]
    assert len(home.signing_keys()) == 2
    assert current(home, store).kid == old.kid
    assert store.audit() == []


def test_a_folder_that_cannot_be_written_is_told(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the store knows nothing of a key without a file."""

    def refuse(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("stapes.server.rotation.write_signing_key", refuse)
    with pytest.raises(HomeError, match=r"cannot change the keys in .*: read-only"):
        rotate(home, store, HOW)
    assert len(store.signing_keys()) == 1


def test_lost_keys_are_replaced(tmp_path: Path) -> None:
    """Without the master key that they need; their tokens verify on, and no file is deleted."""
    home, _ = create_home(
        tmp_path / "locked", NOON, master_key=SecretStr("a master key of some length")
    )
    store = open_store(home.database)
    old = current(home, store)
    reopened = open_home_without_keys(home.path)
    done = replace_lost(reopened, store, HOW)
    assert done.retired == {old.kid: NOON + OVERLAP}
    opened = open_home(home.path)
    assert list(opened.signing_keys()) == [done.kid]
    assert current(opened, store).kid == done.kid
    assert open_with(opened, store, token(old, NOON), NOON) == "user"
    assert (home.keys_folder / f"lost-{old.kid}.pem").exists()
    assert [action for _, action, _ in actions(store)] == ["key.rotated"]
    store.close()


def test_a_key_is_made_where_all_files_are_lost(home: Home, store: Store) -> None:
    """The folder too."""
    shutil.rmtree(home.keys_folder)
    with pytest.raises(HomeError, match=r"cannot read|no token-\*\.pem"):
        open_home(home.path)
    done = replace_lost(open_home_without_keys(home.path), store, AT_ONCE)
    assert list(open_home(home.path).signing_keys()) == [done.kid]


def two_in_use(home: Home, store: Store) -> tuple[SigningKey, SigningKey]:
    """Make a second key that signs beside the first one."""
    from stapes.server.key_files import write_signing_key

    first = current(home, store)
    second = SigningKey.of(Ed25519PrivateKey.generate())
    write_signing_key(home.keys_folder, second, None)
    store.write([SigningKeyAdded(second.kid, jwk(second.private_key.public_key()), NOON)])
    return first, second


def test_one_of_two_keys_can_be_retired(home: Home, store: Store) -> None:
    """With the same overlap, and after that at once."""
    first, second = two_in_use(home, store)
    assert retire(home, store, second.kid, HOW) == NOON + OVERLAP
    assert current(home, store).kid == first.kid
    assert retire(home, store, second.kid, AT_ONCE) == NOON
    assert list(read_keyring(home, store).verifying(NOON)) == [first.kid]
    assert actions(store) == [("local:ada", "key.retired", second.kid)] * 2


def test_retiring_again_gives_no_more_time(home: Home, store: Store) -> None:
    """It says when the key really is refused."""
    _, second = two_in_use(home, store)
    retire(home, store, second.kid, HOW)
    assert retire(home, store, second.kid, replace(HOW, now=SOON)) == NOON + OVERLAP


SOON = NOON + timedelta(minutes=1)


def test_the_last_key_that_can_sign_stays(home: Home, store: Store) -> None:
    """One that is to retire, or whose private part is elsewhere, does not count."""
    rotate(home, store, HOW)
    elsewhere = SigningKey.of(Ed25519PrivateKey.generate())
    store.write([SigningKeyAdded(elsewhere.kid, jwk(elsewhere.private_key.public_key()), NOON)])
    last = current(home, store)
    with pytest.raises(HomeError, match="could sign; run `stapes keys rotate` instead"):
        retire(home, store, last.kid, AT_ONCE)
    assert current(home, store).kid == last.kid


def test_a_key_that_is_retired_or_unknown_is_told(home: Home, store: Store) -> None:
    """By its kid."""
    _, second = two_in_use(home, store)
    retire(home, store, second.kid, AT_ONCE)
    with pytest.raises(HomeError, match=f"{second.kid} is retired already"):
        retire(home, store, second.kid, AT_ONCE)
    with pytest.raises(HomeError, match="there is no signing key nobody"):
        retire(home, store, "nobody", HOW)
