"""Private key files: closed to others, whole, and encrypted with a master key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from stapes.errors import HomeError
from stapes.server import key_files
from stapes.server.key_files import (
    change_master_key,
    is_encrypted,
    new_signing_key,
    read_signing_key,
    read_signing_keys,
    signing_key_files,
    write_signing_key,
)
from stapes.tokens.keys import SigningKey

KEY = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
MASTER = SecretStr("a master key of some length")
NEW = SecretStr("another master key, as long")


@pytest.mark.parametrize("master_key", [None, MASTER])
def test_a_key_comes_back_as_it_was_written(tmp_path: Path, master_key: SecretStr | None) -> None:
    """Plain or encrypted, in one file of mode 0600 under its kid."""
    path = write_signing_key(tmp_path, KEY, master_key)
    assert path.name == f"token-{KEY.kid}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path] == signing_key_files(tmp_path)
    found = read_signing_key(path, master_key)
    assert found.kid == KEY.kid
    assert found.private_key.private_bytes_raw() == KEY.private_key.private_bytes_raw()
    assert is_encrypted(path) == (master_key is not None)


def test_an_encrypted_file_needs_more_than_a_pem_reader(tmp_path: Path) -> None:
    """Neither without a password, nor with the master key itself: a guess costs a scrypt."""
    content = write_signing_key(tmp_path, KEY, MASTER).read_bytes()
    with pytest.raises(TypeError):
        load_pem_private_key(content, None)
    with pytest.raises(ValueError, match="password"):
        load_pem_private_key(content, MASTER.get_secret_value().encode())
    assert key_files.SCRYPT_N * 8 * 128 == 64 * 1024 * 1024


def test_a_plain_file_opens_with_a_master_key_too(tmp_path: Path) -> None:
    """It is one that is about to be encrypted."""
    write_signing_key(tmp_path, KEY, None)
    assert list(read_signing_keys(tmp_path, MASTER)) == [KEY.kid]


def test_a_missing_and_a_wrong_master_key_are_told(tmp_path: Path) -> None:
    """With what to do; and neither key is in the message."""
    path = write_signing_key(tmp_path, KEY, MASTER)
    with pytest.raises(HomeError, match="is encrypted; set STAPES_MASTER_KEY to the master key"):
        read_signing_key(path, None)
    with pytest.raises(HomeError, match="does not open with STAPES_MASTER_KEY; set it") as caught:
        read_signing_key(path, NEW)
    assert NEW.get_secret_value() not in str(caught.value)


def test_a_changed_file_is_told(tmp_path: Path) -> None:
    """Wherever a byte of it was turned round; the cipher alone would not show it."""
    path = write_signing_key(tmp_path, KEY, MASTER)
    lines = path.read_bytes().splitlines(keepends=True)
    whole = b"".join(lines)
    for place in range(len(lines[0]), len(whole) - len(lines[-1]), 5):
        other = b"A" if whole[place : place + 1] != b"A" else b"B"
        path.write_bytes(whole[:place] + other + whole[place + 1 :])
        with pytest.raises(HomeError):
            read_signing_key(path, MASTER)


def test_a_file_under_another_name_is_told(tmp_path: Path) -> None:
    """A plain one holds another key; an encrypted one does not open."""
    name = tmp_path / f"token-{OTHER.kid}.pem"
    write_signing_key(tmp_path, KEY, None).rename(name)
    with pytest.raises(HomeError, match="holds another key than its name says"):
        read_signing_key(name, None)
    write_signing_key(tmp_path, KEY, MASTER).rename(name)
    with pytest.raises(HomeError, match="does not open"):
        read_signing_key(name, MASTER)


def test_a_file_that_is_taken_away_meanwhile_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process rotates the keys while this one reads them."""
    gone = write_signing_key(tmp_path, OTHER, None)
    write_signing_key(tmp_path, KEY, None)
    listed = signing_key_files(tmp_path)
    gone.unlink()
    monkeypatch.setattr(key_files, "signing_key_files", lambda _: listed)
    assert list(read_signing_keys(tmp_path, None)) == [KEY.kid]


def test_a_file_that_is_being_written_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its name only when it is whole, and one that fails leaves nothing."""
    seen: list[list[Path]] = []

    def fail(_: int) -> None:
        seen.append(signing_key_files(tmp_path))
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk is full"):
        write_signing_key(tmp_path, KEY, None)
    assert seen == [[]]
    assert list(tmp_path.iterdir()) == []


def test_the_master_key_changes_and_goes(tmp_path: Path) -> None:
    """From none to one, to another, to none again; the keys stay."""
    for key in (KEY, OTHER):
        write_signing_key(tmp_path, key, None)
    for old, new in ((None, MASTER), (MASTER, NEW), (NEW, None)):
        assert change_master_key(tmp_path, old, new) == 2
        assert set(read_signing_keys(tmp_path, new)) == {KEY.kid, OTHER.kid}
        assert {is_encrypted(path) for path in signing_key_files(tmp_path)} == {new is not None}


def test_a_change_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    """Some files have the new master key already."""
    write_signing_key(tmp_path, KEY, NEW)
    write_signing_key(tmp_path, OTHER, MASTER)
    assert change_master_key(tmp_path, MASTER, NEW) == 2
    assert set(read_signing_keys(tmp_path, NEW)) == {KEY.kid, OTHER.kid}


def test_a_change_with_a_wrong_master_key_changes_nothing(tmp_path: Path) -> None:
    """Not even the files before the one that does not open."""
    paths = [write_signing_key(tmp_path, KEY, None), write_signing_key(tmp_path, OTHER, MASTER)]
    before = [path.read_bytes() for path in paths]
    with pytest.raises(HomeError, match="does not open"):
        change_master_key(tmp_path, SecretStr("wrong" * 5), NEW)
    assert [path.read_bytes() for path in paths] == before


def test_a_new_keys_kid_is_no_option() -> None:
    """Or `stapes keys retire KID` would not take it."""
    assert not any(new_signing_key().kid.startswith("-") for _ in range(300))
