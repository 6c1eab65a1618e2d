"""Key files of users: public keys that are read, pairs that are made, profiles that name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stapes.errors import KeyFileError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from stapes.identity.model import ApiKey, User

SHORTEST_BITS = 2048


def read_public_key(path: Path) -> RSAPublicKey:
    """The RSA key of a PEM file. Raises `KeyFileError` for any other, and for short ones."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise KeyFileError(f"{path} holds no RSA key")
    if key.key_size < SHORTEST_BITS:
        raise KeyFileError(
            f"the key of {path} has {key.key_size} bits; it must have at least {SHORTEST_BITS}"
        )
    return key


def write_key_pair(path: Path) -> tuple[RSAPublicKey, list[Path]]:
    """Make a key pair: the private key in ``path``, the public one beside it, both 0600.

    Returns the public key and the files. Raises `KeyFileError`; no file is ever overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    from stapes.server.key_files import private_pem, public_pem, write_private

    key = generate_private_key(public_exponent=65537, key_size=SHORTEST_BITS)
    public = public_pem(key.public_key()).encode("ascii")
    contents = {path: private_pem(key), _public_path(path): public}
    written: list[Path] = []
    try:
        for place, content in contents.items():
            write_private(place, content)
            written.append(place)
    except OSError as error:
        remove_files(written)
        raise KeyFileError(f"cannot make {error.filename}: {error.strerror}") from error
    return key.public_key(), written


def remove_files(paths: list[Path]) -> None:
    """Take away files that were written for nothing."""
    for path in paths:
        path.unlink(missing_ok=True)


def config_profile(user: User, key: ApiKey, key_file: str) -> str:
    """A profile for an OCI SDK configuration file, named after the user."""
    from stapes.server.home import REGION

    values = {
        "user": user.id,
        "fingerprint": key.fingerprint,
        "tenancy": user.tenancy_id,
        "region": REGION,
        "key_file": key_file,
    }
    return "\n".join([f"[{user.name}]", *(f"{name}={value}" for name, value in values.items())])


def _public_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_public.pem")
