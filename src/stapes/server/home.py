"""The home folder: keys, database and client configuration of one installation.

::

    DIR/                         0700
    ├── stapes.db                0600  the store; put in place last, so that it says: complete
    │                                  (where the store is in PostgreSQL: stapes.elsewhere, empty)
    ├── stapes.toml              settings, if any
    ├── models/                  installed models, if any, and models.toml for rows of one's own
    ├── customizations/          phrase lists, if any; see `stapes.server.phrases`
    ├── keys/token-<kid>.pem     0600  Ed25519, signs session tokens; see `stapes.server.key_files`
    └── oci/
        ├── config               0600  for any OCI SDK: profile DEFAULT, the administrator
        └── administrator.pem    0600  RSA-2048, the administrator's API key

`stapes.server.new_home` makes one; until that is done there is a ``DIR/.unfinished`` too.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import SecretStr

from stapes.errors import HomeError
from stapes.server.key_files import (
    change_master_key,
    is_encrypted,
    read_private_key,
    read_signing_key,
    read_signing_keys,
    signing_key_files,
    write_signing_key,
)
from stapes.tokens.keys import SigningKey

DATABASE = "stapes.db"
ELSEWHERE = "stapes.elsewhere"
KEYS = "keys"
OCI = "oci"
UNFINISHED = ".unfinished"
PROFILE = "DEFAULT"
REGION = "local-1"
"""No region of OCI has this name: a client that is told no endpoint reaches nobody."""


@dataclass(frozen=True, slots=True)
class Home:
    """A complete home folder; all paths are absolute.

    ``compartment_id`` is the compartment that clients use when they name none. With a
    ``master_key`` the token-signing keys are encrypted.
    """

    path: Path
    tenancy_id: str
    user_id: str
    compartment_id: str
    profile: str = PROFILE
    master_key: SecretStr | None = field(default=None, repr=False)
    database_url: SecretStr | None = None

    @property
    def keys_folder(self) -> Path:
        """Where the token-signing keys are."""
        return self.path / KEYS

    @property
    def database(self) -> Path | SecretStr:
        """Where the store is, as `stapes.store.sql.open_store` takes it."""
        return self.database_url or self.path / DATABASE

    @property
    def config_file(self) -> Path:
        """The OCI SDK configuration of the administrator."""
        return self.path / OCI / "config"

    def signing_keys(self) -> dict[str, SigningKey]:
        """The token-signing keys by their kid; which is the newest, the store knows.

        Raises `HomeError` for a file that cannot be opened, or is not what its name says.
        """
        return read_signing_keys(self.keys_folder, self.master_key)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time changes the home's files; others wait."""
        with locked_folder(self.path):
            yield


def open_home(
    directory: Path, *, master_key: SecretStr | None = None, database: SecretStr | None = None
) -> Home:
    """Open a home that was made, with the settings ``master_key`` and ``database``.

    With a ``master_key``, token-signing keys that are not encrypted are encrypted in their place.

    Raises `HomeError`, which says what to do, when there is none, a file is missing or broken, or
    others can read a private key, or it is encrypted and does not open with ``master_key``.
    """
    path = absolute(directory)
    try:
        home = _open_without_keys(path, master_key, database)
        if not signing_key_files(home.keys_folder):
            raise HomeError(
                f"there is no token-*.pem in {home.keys_folder}; restore the folder, or run "
                "`stapes keys replace`"
            )
        home.signing_keys()
        _encrypt_keys(home)
    except OSError as error:
        raise HomeError(f"cannot read the home {path}: {error}") from error
    return home


def rekey_home(
    directory: Path,
    old: SecretStr | None,
    new: SecretStr | None,
    *,
    database: SecretStr | None = None,
) -> tuple[Home, int]:
    """Change the master key, or take encryption away (None); also says how many keys there are.

    What was cut off in the middle can be done again. Raises `HomeError` when a key opens with
    neither.
    """
    path = absolute(directory)
    try:
        home = _open_without_keys(path, new, database)
        with home.locked():
            changed = change_master_key(home.keys_folder, old, new)
    except OSError as error:
        raise HomeError(f"cannot change the keys of the home {path}: {error}") from error
    return home, changed


def open_home_without_keys(
    directory: Path, *, master_key: SecretStr | None = None, database: SecretStr | None = None
) -> Home:
    """Open a home whose token-signing keys are lost, or do not open. Raises `HomeError`."""
    path = absolute(directory)
    try:
        return _open_without_keys(path, master_key, database)
    except OSError as error:
        raise HomeError(f"cannot read the home {path}: {error}") from error


def _open_without_keys(
    path: Path, master_key: SecretStr | None, database: SecretStr | None
) -> Home:
    _check_complete(path)
    _check_database(path, database)
    return replace(_read_config(path), master_key=master_key, database_url=database)


def absolute(directory: Path) -> Path:
    """The path of a home, as an SDK's configuration needs it."""
    return directory.expanduser().absolute()


def is_complete(path: Path) -> bool:
    """Whether a home was made here, to the end."""
    return (path / DATABASE).exists() or (path / ELSEWHERE).exists()


def _check_database(path: Path, database: SecretStr | None) -> None:
    is_elsewhere = (path / ELSEWHERE).exists()
    if is_elsewhere and database is None:
        raise HomeError(
            f"the records of {path} are in PostgreSQL; set STAPES_DATABASE, or `database` in "
            "stapes.toml, to its URL"
        )
    if database is not None and not is_elsewhere:
        raise HomeError(
            f"the records of {path} are in its {DATABASE}; unset the setting `database`, or name "
            "another folder"
        )


def _check_complete(path: Path) -> None:
    if not is_complete(path):
        state = "is not finished" if (path / UNFINISHED).exists() else "holds no Stapes home"
        raise HomeError(f"{path} {state}; run `stapes init --home {shlex.quote(str(path))}`")


def _encrypt_keys(home: Home) -> None:
    if home.master_key is None or all(map(is_encrypted, signing_key_files(home.keys_folder))):
        return
    with home.locked():
        for path in signing_key_files(home.keys_folder):
            if not is_encrypted(path):
                write_signing_key(home.keys_folder, read_signing_key(path, None), home.master_key)


def _read_config(path: Path) -> Home:
    config_file = path / OCI / "config"
    if not config_file.exists():
        raise HomeError(f"{config_file} is missing; restore it")
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(config_file.read_text(encoding="utf-8"))
        profile = parser[PROFILE]
        key_file = Path(profile["key_file"])
        ids = (profile["tenancy"], profile["user"], profile["compartment"])
    except (ConfigError, UnicodeDecodeError, KeyError) as error:
        raise HomeError(f"{config_file} cannot be used ({error}); restore it") from error
    if not key_file.exists():
        raise HomeError(
            f"{config_file} names the key_file {key_file}, which is missing; correct it"
        )
    if not isinstance(read_private_key(key_file), RSAPrivateKey):
        raise HomeError(f"{key_file} holds no RSA key; restore it")
    return Home(path, *ids)


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Only one process at a time; the lock ends with the process, whatever its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
