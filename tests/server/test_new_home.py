"""What a new home holds, and what becomes of one whose making was cut off."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import oci
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from stapes.client.profile import load_private_key, read_profile
from stapes.errors import HomeError
from stapes.identity.access import allowed
from stapes.identity.model import Verb
from stapes.identity.ocid import is_ocid
from stapes.server import new_home
from stapes.server.home import Home, open_home
from stapes.server.new_home import create_home
from stapes.signing.fingerprint import fingerprint
from stapes.store.records import SigningKeyAdded
from stapes.store.sql import open_store
from stapes.tokens.keys import jwk
from tests.server.homes import (
    MASTER,
    NOON,
    directory,
    files,
    is_encrypted,
    signing_key_file,
    state,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a home"


@pytest.fixture
def home(path: Path) -> Home:
    home, created = create_home(path, NOON)
    assert created
    return home


def test_a_home_has_its_files_and_no_others(home: Home) -> None:
    """The layout is the documented one; folders have mode 0700 and files 0600."""
    (kid,) = home.signing_keys()
    names = [str(it.relative_to(home.path)) for it in files(home.path)]
    assert names == [f"keys/token-{kid}.pem", "oci/administrator.pem", "oci/config", "stapes.db"]
    assert {stat.S_IMODE(it.stat().st_mode) for it in files(home.path)} == {0o600}
    folders = [home.path, home.path / "keys", home.path / "oci"]
    assert {stat.S_IMODE(it.stat().st_mode) for it in folders} == {0o700}


def test_modes_do_not_hang_on_the_umask(path: Path) -> None:
    """A generous umask gives nothing away."""
    before = os.umask(0)
    try:
        home, _ = create_home(path, NOON)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(it.stat().st_mode) for it in files(home.path)} == {0o600}


def test_the_keys_are_what_they_should_be(home: Home) -> None:
    """The administrator signs with RSA of 2048 bits, the server with Ed25519."""
    pem = (home.path / "oci" / "administrator.pem").read_bytes()
    administrator = load_pem_private_key(pem, None)
    assert isinstance(administrator, RSAPrivateKey)
    assert administrator.key_size == 2048
    assert b"BEGIN PRIVATE KEY" in pem
    assert isinstance(
        load_pem_private_key(signing_key_file(home).read_bytes(), None), Ed25519PrivateKey
    )


def test_the_unmodified_sdk_takes_the_configuration(home: Home) -> None:
    """The oci package reads and validates the file, and makes a client of it."""
    config = oci.config.from_file(str(home.config_file), home.profile)
    oci.config.validate_config(config)
    client = oci.ai_speech.AIServiceSpeechClient(config, service_endpoint="http://127.0.0.1:1")
    assert client.base_client.endpoint == "http://127.0.0.1:1/20220101"
    assert (config["tenancy"], config["user"]) == (home.tenancy_id, home.user_id)


def test_our_own_client_takes_the_configuration(home: Home) -> None:
    """The profile names the key, which opens, and the compartment to use when none is named."""
    profile = read_profile(home.config_file, home.profile)
    assert profile.compartment == home.compartment_id
    assert profile.key_file.is_absolute()
    assert fingerprint(load_private_key(profile).public_key()) == profile.fingerprint


def test_the_store_knows_the_administrator(home: Home) -> None:
    """The database has the tenancy, its compartment and the user with the configured API key."""
    found = directory(home)
    profile = read_profile(home.config_file)
    assert list(found.tenancies) == [home.tenancy_id]
    assert found.compartments[home.compartment_id].name == "speech"
    assert found.compartments[home.compartment_id].parent_id == home.tenancy_id
    assert found.users[home.user_id].name == "administrator"
    assert list(found.api_keys) == [(home.user_id, profile.fingerprint)]
    pem = found.api_keys[home.user_id, profile.fingerprint].public_pem
    assert pem.startswith("-----BEGIN PUBLIC KEY-----")


def test_the_administrator_may_manage_everything(home: Home) -> None:
    """The policy lets the administrator in, in the compartment and in the root."""
    found = directory(home)
    assert allowed(found, home.user_id, Verb.MANAGE, home.compartment_id)
    assert allowed(found, home.user_id, Verb.MANAGE, home.tenancy_id)


def test_the_ids_are_ocids(home: Home) -> None:
    """Every id has the form of an OCID of its resource."""
    found = directory(home)
    assert is_ocid(home.tenancy_id, "tenancy")
    assert is_ocid(home.user_id, "user")
    assert is_ocid(home.compartment_id, "compartment")
    assert [is_ocid(it, "group") for it in found.groups] == [True]
    assert [is_ocid(it, "policy") for it in found.policies] == [True]


def test_the_store_has_the_public_part_of_the_signing_key(home: Home) -> None:
    """The key of the file is in the store as a JWK, with the time it was made."""
    store = open_store(home.database)
    (added,) = store.signing_keys()
    store.close()
    key = home.signing_keys()[added.kid]
    assert added == SigningKeyAdded(key.kid, jwk(key.private_key.public_key()), NOON)


def test_creating_again_changes_nothing(home: Home) -> None:
    """A second run gives the same home and touches no file."""
    before = state(home.path)
    again, created = create_home(home.path, NOON)
    assert (again, created) == (home, False)
    assert state(home.path) == before


def test_two_homes_have_nothing_in_common(home: Home, tmp_path: Path) -> None:
    """Ids and keys are made anew for every home."""
    other, _ = create_home(tmp_path / "other", NOON)
    assert other.tenancy_id != home.tenancy_id
    assert other.user_id != home.user_id
    assert other.compartment_id != home.compartment_id
    assert not set(other.signing_keys()) & set(home.signing_keys())


def test_two_at_a_time_make_one_home(path: Path) -> None:
    """The second of two that create at once gets the home of the first."""
    made: list[tuple[Home, bool]] = []
    threads = [
        threading.Thread(target=lambda: made.append(create_home(path, NOON))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(created for _, created in made) == [False, False, True]
    assert len({home.tenancy_id for home, _ in made}) == 1


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration works from any working directory."""
    monkeypatch.chdir(tmp_path)
    home, _ = create_home(Path("here"), NOON)
    assert home.path == tmp_path / "here"
    assert read_profile(home.config_file).key_file == tmp_path / "here/oci/administrator.pem"


def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is expanded as a shell does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    home, _ = create_home(Path("~/.stapes"), NOON)
    assert home.path == tmp_path / ".stapes"


def test_an_empty_folder_becomes_a_home(path: Path) -> None:
    """A folder that is there and empty is used, and closed to others."""
    path.mkdir(mode=0o755)
    home, created = create_home(path, NOON)
    assert created
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_settings_and_models_may_be_there_first(path: Path) -> None:
    """They do not make a folder somebody else's, and stay."""
    (path / "models" / "mine").mkdir(parents=True)
    (path / "customizations").mkdir()
    for name in ("stapes.toml", "models.toml"):
        (path / name).write_text("port = 9000\n")
    create_home(path, NOON)
    assert (path / "stapes.toml").read_text() == "port = 9000\n"
    assert (path / "models" / "mine").is_dir()


@pytest.mark.parametrize("name", ["thesis.tex", "keys", "oci"])
def test_somebody_elses_folder_is_left_alone(path: Path, name: str) -> None:
    """A folder that holds something else is refused, with what it holds, and not changed."""
    path.mkdir(mode=0o755)
    (path / name).write_text("years of work")
    with pytest.raises(HomeError, match=f"holds {name} and is no Stapes home; name an empty"):
        create_home(path, NOON)
    assert [it.name for it in path.iterdir()] == [name]
    assert (path / name).read_text() == "years of work"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_file_in_its_place_is_told(path: Path) -> None:
    """A path that is a file cannot become a home."""
    path.write_text("")
    with pytest.raises(HomeError, match=r"cannot make a home in .*File exists"):
        create_home(path, NOON)


class CutOffError(Exception):
    """Stands for whatever ends a making in the middle."""


STEPS = ["_name_home", "_create_administrator", "write_private", "_create_signing_key"]


def cut_off(
    path: Path,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
    database: SecretStr | None = None,
) -> None:
    """Begin to make a home and stop where ``step`` would be done."""

    def stop(*_: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(new_home, step, stop)
        with pytest.raises(CutOffError):
            create_home(path, NOON, database=database)


@pytest.mark.parametrize("step", [*STEPS, "open_store"])
def test_a_making_that_was_cut_off_is_no_home(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stopped, opening says that the home is not finished and how to finish it."""
    cut_off(path, step, monkeypatch)
    with pytest.raises(HomeError, match=r"is not finished; run `stapes init --home '.*a home'`"):
        open_home(path)


@pytest.mark.parametrize("step", [*STEPS, "open_store"])
def test_a_making_that_was_cut_off_is_made_afresh(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating again gives a whole home, with nothing left of the first attempt."""
    cut_off(path, step, monkeypatch)
    home, created = create_home(path, NOON)
    assert created
    assert len(files(path)) == 4
    assert not (path / ".unfinished").exists()
    assert list(directory(home).users) == [home.user_id]


KILLED_WHILE_MAKING = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from stapes.server import new_home

new_home.fingerprint = lambda key: os.kill(os.getpid(), signal.SIGKILL)
new_home.create_home(Path(sys.argv[1]), datetime.now(UTC))
"""


def test_a_killed_making_is_made_afresh(path: Path) -> None:
    """A process that was killed leaves no lock and nothing that stops the next."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_MAKING, str(path)], check=False, timeout=60
    )
    assert ended.returncode < 0
    _, created = create_home(path, NOON)
    assert created


def test_a_marker_left_at_the_very_end_does_no_harm(home: Home) -> None:
    """Between the last two steps the home is complete already."""
    (home.path / ".unfinished").mkdir()
    assert create_home(home.path, NOON) == (home, False)


def test_a_home_made_with_a_master_key_is_encrypted(path: Path) -> None:
    """The signing key; not the administrator's API key, which any OCI SDK has to read."""
    home, _ = create_home(path, NOON, master_key=MASTER)
    assert is_encrypted(home)
    assert b"BEGIN PRIVATE KEY" in (path / "oci" / "administrator.pem").read_bytes()
    assert home.signing_keys().keys() == open_home(path, master_key=MASTER).signing_keys().keys()
    assert MASTER.get_secret_value() not in repr(home)


def test_records_may_be_in_postgresql(path: Path, database: SecretStr) -> None:
    """The home has its keys, a marker in place of the store's file, and no word of the URL."""
    home, created = create_home(path, NOON, database=database)
    assert created
    (kid,) = home.signing_keys()
    assert [str(it.relative_to(path)) for it in files(path)] == [
        f"keys/token-{kid}.pem",
        "oci/administrator.pem",
        "oci/config",
        "stapes.elsewhere",
    ]
    assert {stat.S_IMODE(it.stat().st_mode) for it in files(path)} == {0o600}
    assert (path / "stapes.elsewhere").read_bytes() == b""
    assert list(directory(home).users) == [home.user_id]
    assert database.get_secret_value() not in repr(home)


def test_a_home_with_its_records_elsewhere_stays_as_it_is(path: Path, database: SecretStr) -> None:
    """Creating again and opening give the same home and touch no file."""
    home, _ = create_home(path, NOON, database=database)
    before = state(path)
    assert create_home(path, NOON, database=database) == (home, False)
    assert open_home(path, database=database) == home
    assert state(path) == before


def test_a_database_has_one_home(path: Path, database: SecretStr, tmp_path: Path) -> None:
    """A second one is told to be a copy of the first, and nothing is written."""
    home, _ = create_home(path, NOON, database=database)
    with pytest.raises(HomeError, match="records of another home; copy that home's folder"):
        create_home(tmp_path / "second", NOON, database=database)
    assert list(directory(home).tenancies) == [home.tenancy_id]
    with pytest.raises(HomeError, match="is not finished"):
        open_home(tmp_path / "second", database=database)


@pytest.mark.parametrize("step", [*STEPS, "open_store"])
def test_a_cut_off_making_leaves_nothing_in_the_database(
    path: Path, database: SecretStr, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records come all at once and last: the next try finds the database empty."""
    cut_off(path, step, monkeypatch, database)
    home, created = create_home(path, NOON, database=database)
    assert created
    assert list(directory(home).users) == [home.user_id]
