"""A new home: its folder, its first keys, its administrator and the records of them.

While it is being made there is also ``DIR/.unfinished``; a home whose making was cut off is made
afresh, because nobody has been told its ids yet.
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import closing
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
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
from stapes.server.home import (
    DATABASE,
    ELSEWHERE,
    KEYS,
    OCI,
    PROFILE,
    REGION,
    UNFINISHED,
    Home,
    absolute,
    is_complete,
    locked_folder,
    open_home,
)
from stapes.server.key_files import (
    new_signing_key,
    private_pem,
    public_pem,
    write_private,
    write_signing_key,
)
from stapes.signing.fingerprint import fingerprint
from stapes.store.records import Record, SigningKeyAdded
from stapes.store.sql import open_store
from stapes.tokens.keys import jwk

STATEMENT = "Allow group Administrators to manage ai-service-speech-family in tenancy"
NOT_OURS_BUT_FINE = frozenset(
    {"stapes.toml", "models", "models.toml", "customizations", "lost+found"}
)
"""What may be in a folder before it becomes a home, that of a file system included."""


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
    path = absolute(directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked_folder(path):
            created = not is_complete(path)
            if created:
                _clear(path)
                _build(path, now, master_key, database)
    except OSError as error:
        raise HomeError(f"cannot make a home in {path}: {error}") from error
    return open_home(path, master_key=master_key, database=database), created


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
    api_key = ApiKey(home.user_id, fingerprint(key.public_key()), public_pem(key.public_key()))
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
