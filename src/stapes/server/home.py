"""The home folder: keys, database and client configuration of one installation.

::

    DIR/                         0700
    ├── stapes.db                0600  the store; put in place last, so that it says: complete
    │                                  (where the store is in PostgreSQL: stapes.elsewhere, empty)
    ├── models/                  installed models, and models.toml for rows of one's own
    ├── keys/token-<kid>.pem     0600  Ed25519, signs session tokens; see `stapes.server.key_files`
    └── oci/
        ├── config               0600  for any OCI SDK: profile DEFAULT, the administrator
        └── administrator.pem    0600  RSA-2048, the administrator's API key

While it is being made there is also ``DIR/.unfinished``; a home whose making was cut off is made
afresh, because nobody has been told its ids yet.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from stapes.errors import HomeError
from stapes.identity.model import (
    ApiKey,
    Binding,
    Compartment,
    Group,
    Policy,
    Tenancy,
    User,
    Verb,
)
from stapes.identity.ocid import ENTROPY_BYTES, format_ocid
from stapes.server.key_files import (
    change_master_key,
    is_encrypted,
    new_signing_key,
    private_pem,
    read_private_key,
    read_signing_key,
    read_signing_keys,
    signing_key_files,
    write_private,
    write_signing_key,
)
from stapes.signing.fingerprint import fingerprint
from stapes.store.records import Record, SigningKeyAdded
from stapes.store.sql import open_store
from stapes.tokens.keys import SigningKey, jwk

DATABASE = "stapes.db"
ELSEWHERE = "stapes.elsewhere"
KEYS = "keys"
OCI = "oci"
UNFINISHED = ".unfinished"
PROFILE = "DEFAULT"
REGION = "local-1"
"""No region of OCI has this name: a client that is told no endpoint reaches nobody."""

STATEMENT = "Allow group Administrators to manage ai-service-speech-family in tenancy"
NOT_OURS_BUT_FINE = frozenset({"stapes.toml", "models", "models.toml", "lost+found"})
"""What may be in a folder before it becomes a home: settings, models, a file system's own."""


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
        with _locked(self.path):
            yield


def create_home(
    directory: Path,
    now: datetime,
    *,
    master_key: SecretStr | None = None,
    database: SecretStr | None = None,
) -> tuple[Home, bool]:
    """Make a home with one tenancy and its administrator; the second value says if it is new.

    A complete home is left as it is, to the byte; ``now`` dates a new one. Two calls at a time
    make one home. ``database`` is the URL of an empty PostgreSQL database for the records. Raises
    `HomeError` when the folder cannot be made, holds something else, or is a home with something
    amiss, and `StoreError` when the database takes no records.
    """
    path = _absolute(directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            created = not _is_complete(path)
            if created:
                _clear(path)
                _build(path, now, master_key, database)
    except OSError as error:
        raise HomeError(f"cannot make a home in {path}: {error}") from error
    return open_home(path, master_key=master_key, database=database), created


def open_home(
    directory: Path, *, master_key: SecretStr | None = None, database: SecretStr | None = None
) -> Home:
    """Open a home that `create_home` made, with the settings ``master_key`` and ``database``.

    With a ``master_key``, token-signing keys that are not encrypted are encrypted in their place.

    Raises `HomeError`, which says what to do, when there is none, a file is missing or broken, or
    others can read a private key, or it is encrypted and does not open with ``master_key``.
    """
    path = _absolute(directory)
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
    path = _absolute(directory)
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
    path = _absolute(directory)
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


def _absolute(directory: Path) -> Path:
    return directory.expanduser().absolute()


def _is_complete(path: Path) -> bool:
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
    if not _is_complete(path):
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
def _locked(path: Path) -> Iterator[None]:
    """Only one at a time; the lock ends with the process, whatever its end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Take away what an unfinished making left, and nothing else."""
    ours = {UNFINISHED, KEYS, OCI} if (path / UNFINISHED).exists() else set()
    for entry in sorted(path.iterdir()):
        if entry.name not in ours | NOT_OURS_BUT_FINE:
            raise HomeError(
                f"{path} holds {entry.name} and is no Stapes home; name an empty or a new folder"
            )
    # The marker last: without it the rest would be taken for somebody else's.
    for left in (path / name for name in (KEYS, OCI, UNFINISHED) if name in ours):
        if left.exists():
            shutil.rmtree(left)


def _build(
    path: Path, now: datetime, master_key: SecretStr | None, database: SecretStr | None
) -> None:
    path.chmod(0o700)
    for name in (UNFINISHED, KEYS, OCI):
        (path / name).mkdir(mode=0o700)
    home = _name_home(path, master_key)
    records = [*_create_administrator(home), _create_signing_key(home, now)]
    complete = DATABASE if database is None else ELSEWHERE
    _write_records(database or path / UNFINISHED / DATABASE, records)
    if database is not None:
        write_private(path / UNFINISHED / ELSEWHERE, b"")
    (path / UNFINISHED / complete).rename(path / complete)
    (path / UNFINISHED).rmdir()


def _write_records(database: Path | SecretStr, records: list[Record]) -> None:
    with closing(open_store(database)) as store:
        if store.signing_keys():
            raise HomeError(
                "the database has the records of another home; copy that home's folder to here, "
                "or name an empty database"
            )
        store.write(records)


def _name_home(path: Path, master_key: SecretStr | None) -> Home:
    ids = (_new_ocid("tenancy"), _new_ocid("user"), _new_ocid("compartment"))
    return Home(path, *ids, master_key=master_key)


def _new_ocid(resource: str) -> str:
    return format_ocid(resource, secrets.token_bytes(ENTROPY_BYTES))


def _create_administrator(home: Home) -> list[Record]:
    key = generate_private_key(public_exponent=65537, key_size=2048)
    api_key = ApiKey(home.user_id, fingerprint(key.public_key()), _public_pem(key))
    key_file = home.config_file.with_name("administrator.pem")
    write_private(key_file, private_pem(key))
    write_private(home.config_file, _config(home, api_key, key_file))
    tenancy = home.tenancy_id
    group = Group(_new_ocid("group"), "Administrators", tenancy, frozenset({home.user_id}))
    binding = Binding(group.id, Verb.MANAGE, tenancy)
    return [
        Tenancy(tenancy, "stapes"),
        Compartment(home.compartment_id, "speech", parent_id=tenancy, tenancy_id=tenancy),
        User(home.user_id, "administrator", tenancy),
        group,
        Policy(_new_ocid("policy"), "administrators", tenancy, (STATEMENT,), (binding,)),
        api_key,
    ]


def _create_signing_key(home: Home, now: datetime) -> Record:
    key = new_signing_key()
    write_signing_key(home.keys_folder, key, home.master_key)
    return SigningKeyAdded(key.kid, jwk(key.private_key.public_key()), now)


def _config(home: Home, api_key: ApiKey, key_file: Path) -> bytes:
    # The SDKs leave ``compartment`` alone; our own client takes it for the default.
    values = {
        "user": home.user_id,
        "fingerprint": api_key.fingerprint,
        "tenancy": home.tenancy_id,
        "region": REGION,
        "key_file": str(key_file),
        "compartment": home.compartment_id,
    }
    lines = [f"[{PROFILE}]", *(f"{name}={value}" for name, value in values.items()), ""]
    return "\n".join(lines).encode("utf-8")


def _public_pem(key: RSAPrivateKey) -> str:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode("ascii")
