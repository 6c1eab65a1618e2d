"""How a home is opened, and what is said when it cannot be."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from stapes.errors import HomeError
from stapes.server.home import Home, open_home, rekey_home
from stapes.server.new_home import create_home
from tests.server.homes import MASTER, NOON, is_encrypted, signing_key_file, state

WRONG = SecretStr("another master key, as long")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a home"


@pytest.fixture
def home(path: Path) -> Home:
    return create_home(path, NOON)[0]


def test_a_home_is_opened_as_it_was_created(home: Home) -> None:
    """Opening gives the home that creating gave."""
    assert open_home(home.path) == home


@pytest.mark.parametrize("exists", [True, False])
def test_no_home_says_how_to_make_one(path: Path, exists: bool) -> None:
    """Without a home the command that makes one is told."""
    if exists:
        path.mkdir()
    with pytest.raises(HomeError, match=r"holds no Stapes home; run `stapes init --home '.*'`"):
        open_home(path)


def private_keys(home: Home) -> Iterator[Path]:
    yield signing_key_file(home)
    yield home.path / "oci" / "administrator.pem"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_private_key_that_others_can_reach_is_refused(home: Home, mode: int) -> None:
    """The file and the chmod that closes it are named."""
    for file in private_keys(home):
        file.chmod(mode)
        with pytest.raises(HomeError) as caught:
            open_home(home.path)
        assert str(caught.value) == f"others may read {file}; run `chmod 600 '{file}'`"
        file.chmod(0o600)
    assert open_home(home.path) == home


def test_a_missing_configuration_is_told(home: Home) -> None:
    """The file that is missing is named, on opening and on creating again."""
    home.config_file.unlink()
    with pytest.raises(HomeError, match="config is missing"):
        open_home(home.path)
    with pytest.raises(HomeError, match="config is missing"):
        create_home(home.path, NOON)


@pytest.mark.parametrize("content", ["", "user=1", "[DEFAULT]\nuser=1\n", "\xff\xfe"])
def test_a_broken_configuration_is_told(home: Home, content: str) -> None:
    """A configuration that says not enough is named."""
    home.config_file.write_text(content, encoding="latin-1")
    with pytest.raises(HomeError, match="config cannot be used"):
        open_home(home.path)


def test_a_home_that_was_moved_is_told(home: Home, tmp_path: Path) -> None:
    """The configuration has the key's absolute path; after a move the message names both."""
    home.path.rename(tmp_path / "moved")
    with pytest.raises(
        HomeError, match=r"moved/oci/config names the key_file .*, which is missing"
    ):
        open_home(tmp_path / "moved")


def test_missing_signing_keys_are_told(home: Home) -> None:
    """A home without a signing key is not opened."""
    signing_key_file(home).unlink()
    with pytest.raises(HomeError, match=r"there is no token-\*.pem"):
        open_home(home.path)


def test_a_broken_key_is_told(home: Home) -> None:
    """A key file that cannot be read is named."""
    for file in private_keys(home):
        content = file.read_bytes()
        file.write_bytes(b"")
        with pytest.raises(HomeError, match="pem is no private key that opens"):
            open_home(home.path)
        file.write_bytes(content)


def test_keys_of_the_wrong_kind_are_told(home: Home) -> None:
    """An RSA key signs no tokens, and an Ed25519 key no requests."""
    token, administrator = private_keys(home)
    signing = token.read_bytes()
    token.write_bytes(administrator.read_bytes())
    with pytest.raises(HomeError, match="holds no Ed25519 key"):
        open_home(home.path)
    token.write_bytes(signing)
    administrator.write_bytes(signing)
    with pytest.raises(HomeError, match="holds no RSA key"):
        open_home(home.path)


def test_a_signing_key_under_another_name_is_told(home: Home) -> None:
    """The name of a key file is its kid; another one is a mix-up."""
    signing_key_file(home).rename(home.path / "keys" / "token-other.pem")
    with pytest.raises(HomeError, match=r"token-other.pem holds another key than its name says"):
        open_home(home.path)


def test_a_further_signing_key_is_found(home: Home, tmp_path: Path) -> None:
    """Every key of the folder is there, by its kid."""
    other, _ = create_home(tmp_path / "other", NOON)
    file = signing_key_file(other)
    file.rename(home.path / "keys" / file.name)
    assert len(home.signing_keys()) == 2


def test_a_plain_home_is_encrypted_when_it_is_first_opened_with_a_master_key(home: Home) -> None:
    """In its place; from then on it does not open without."""
    before = set(home.signing_keys())
    opened = open_home(home.path, master_key=MASTER)
    assert is_encrypted(home)
    assert set(opened.signing_keys()) == before
    assert [it.name for it in home.keys_folder.iterdir()] == [signing_key_file(home).name]
    assert stat.S_IMODE(signing_key_file(home).stat().st_mode) == 0o600
    with pytest.raises(HomeError, match="is encrypted; set STAPES_MASTER_KEY"):
        open_home(home.path)
    with pytest.raises(HomeError, match="does not open with STAPES_MASTER_KEY"):
        open_home(home.path, master_key=WRONG)


def test_an_encrypted_home_stays_as_it_is(path: Path) -> None:
    """Opening it again writes nothing."""
    create_home(path, NOON, master_key=MASTER)
    before = state(path)
    open_home(path, master_key=MASTER)
    assert state(path) == before


def test_what_an_interrupted_encryption_left_is_encrypted_next_time(
    path: Path, tmp_path: Path
) -> None:
    """One key is encrypted and one is not yet."""
    home, _ = create_home(path, NOON, master_key=MASTER)
    other, _ = create_home(tmp_path / "other", NOON)
    plain = signing_key_file(other)
    plain.rename(home.keys_folder / plain.name)
    assert len(open_home(path, master_key=MASTER).signing_keys()) == 2
    assert b"ENCRYPTED" in (home.keys_folder / plain.name).read_bytes()


def test_a_wrong_master_key_encrypts_nothing(path: Path, tmp_path: Path) -> None:
    """Where some keys have another one already."""
    home, _ = create_home(path, NOON, master_key=MASTER)
    other, _ = create_home(tmp_path / "other", NOON)
    plain = signing_key_file(other)
    plain.rename(home.keys_folder / plain.name)
    before = state(path)
    with pytest.raises(HomeError, match="does not open"):
        open_home(path, master_key=WRONG)
    assert state(path) == before


def test_the_master_key_of_a_home_can_be_changed_and_removed(home: Home) -> None:
    """Its keys stay the same."""
    kids = set(home.signing_keys())
    assert rekey_home(home.path, None, MASTER) == (open_home(home.path, master_key=MASTER), 1)
    with pytest.raises(HomeError, match="does not open"):
        rekey_home(home.path, WRONG, None)
    plain, _ = rekey_home(home.path, MASTER, None)
    assert set(plain.signing_keys()) == kids
    assert open_home(home.path) == plain


def test_records_elsewhere_need_their_url(path: Path, database: SecretStr) -> None:
    """Without the setting the home says what is missing, and is not made afresh."""
    create_home(path, NOON, database=database)
    for use in (open_home, lambda path: create_home(path, NOON)):
        with pytest.raises(HomeError, match="are in PostgreSQL; set STAPES_DATABASE"):
            use(path)


def test_records_here_need_no_url(home: Home) -> None:
    """A home with a store of its own does not turn to another one unnoticed."""
    elsewhere = SecretStr("postgresql://me:secret@h/d")
    with pytest.raises(HomeError, match=r"are in its stapes\.db; unset") as caught:
        open_home(home.path, database=elsewhere)
    assert "secret" not in str(caught.value)


def test_a_copied_home_is_the_same_home(path: Path, database: SecretStr, tmp_path: Path) -> None:
    """Two servers share a database when each has the folder: keys, ids and all."""
    home, _ = create_home(path, NOON, database=database)
    shutil.copytree(path, tmp_path / "copy")
    copy = open_home(tmp_path / "copy", database=database)
    assert (copy.tenancy_id, copy.user_id) == (home.tenancy_id, home.user_id)
    assert copy.signing_keys().keys() == home.signing_keys().keys()
