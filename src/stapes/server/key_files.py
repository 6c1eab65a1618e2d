"""Private key files: one PEM (RFC 7468) a key, mode 0600, encrypted when there is a master key.

An encrypted file is PKCS #8 with PBES2 (RFC 8018), AES-256 in CBC mode. The library's own
derivation runs for 2,048 rounds only, so what it is given is not the master key but a key made of
that with scrypt (RFC 7914). CBC alone would not show a changed file; the kid, which is the key's
thumbprint and the file's name, does.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from stapes.errors import HomeError
from stapes.tokens.keys import SigningKey

SCRYPT_N = 2**16
"""Cost of one guess at a master key: 64 MiB of memory and about a quarter of a second."""

_PREFIX, _SUFFIX = "token-", ".pem"
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def signing_key_file(folder: Path, kid: str) -> Path:
    """Where the private part of a token-signing key is kept."""
    return folder / f"{_PREFIX}{kid}{_SUFFIX}"


def signing_key_files(folder: Path) -> list[Path]:
    """The files of token-signing keys; those being written are not among them."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def new_signing_key() -> SigningKey:
    """A new key. Its kid does not begin with a hyphen: on a command line it is no option."""
    while (key := SigningKey.of(Ed25519PrivateKey.generate())).kid.startswith("-"):
        pass
    return key


def read_signing_keys(folder: Path, master_key: SecretStr | None) -> dict[str, SigningKey]:
    """The keys of all files by kid. A file that is taken away meanwhile is left out.

    Raises `HomeError` for a file that cannot be opened, or is not what its name says.
    """
    keys: dict[str, SigningKey] = {}
    for path in signing_key_files(folder):
        with suppress(FileNotFoundError):
            key = read_signing_key(path, master_key)
            keys[key.kid] = key
    return keys


def read_signing_key(path: Path, master_key: SecretStr | None) -> SigningKey:
    """The key of a file, which may be encrypted or not. Raises `HomeError`, `OSError`."""
    content = _read(path)
    if not content.startswith(_ENCRYPTED):
        key = _load(path, content, None)
    elif master_key is None:
        raise HomeError(f"{path} is encrypted; set STAPES_MASTER_KEY to the master key of the home")
    else:
        key = _load(path, content, _password(master_key, path))
    if not isinstance(key, Ed25519PrivateKey):
        raise HomeError(f"{path} holds no Ed25519 key; restore it")
    found = SigningKey.of(key)
    if path.name != signing_key_file(path.parent, found.kid).name:
        raise HomeError(f"{path} holds another key than its name says; restore it")
    return found


def is_encrypted(path: Path) -> bool:
    """Whether a key file opens with a master key only."""
    return path.read_bytes().startswith(_ENCRYPTED)


def write_signing_key(folder: Path, key: SigningKey, master_key: SecretStr | None) -> Path:
    """Put a key's file in its place, whole or not at all, over one that is there already."""
    path = signing_key_file(folder, key.kid)
    encryption: KeySerializationEncryption = NoEncryption()
    if master_key is not None:
        encryption = BestAvailableEncryption(_password(master_key, path))
    _replace(path, private_pem(key.private_key, encryption))
    return path


def change_master_key(folder: Path, old: SecretStr | None, new: SecretStr | None) -> int:
    """Encrypt all keys with ``new``, or leave them plain when it is None; returns how many.

    Files that have the new key already are fine: what was cut off can be done again. Raises
    `HomeError`, with nothing changed, when a file opens with neither.
    """
    keys = [_read_with_either(path, old, new) for path in signing_key_files(folder)]
    for key in keys:
        write_signing_key(folder, key, new)
    return len(keys)


def _read_with_either(path: Path, old: SecretStr | None, new: SecretStr | None) -> SigningKey:
    try:
        return read_signing_key(path, old)
    except HomeError:
        if new is None:
            raise
        with suppress(HomeError):
            return read_signing_key(path, new)
        raise


def read_private_key(path: Path) -> PrivateKeyTypes:
    """The key of a file that is not encrypted. Raises `HomeError`, `OSError`."""
    return _load(path, _read(path), None)


def write_private(path: Path, content: bytes) -> None:
    """Make a file that only its owner can reach. Raises `OSError` when it is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def private_pem(
    key: RSAPrivateKey | Ed25519PrivateKey, encryption: KeySerializationEncryption | None = None
) -> bytes:
    """PKCS #8, which every OCI SDK reads when it is not encrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_pem(key: RSAPublicKey) -> str:
    """SubjectPublicKeyInfo, however the key's own file spelt it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise HomeError(f"others may read {path}; run `chmod 600 {shlex.quote(str(path))}`")
    return path.read_bytes()


def _load(path: Path, content: bytes, password: bytes | None) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if password is None:
            raise HomeError(f"{path} is no private key that opens; restore it") from error
        raise HomeError(
            f"{path} does not open with STAPES_MASTER_KEY; set it to the master key of this home, "
            "or restore the file"
        ) from error


def _password(master_key: SecretStr, path: Path) -> bytes:
    return _derive(master_key.get_secret_value(), path.name)


@lru_cache(maxsize=64)
def _derive(master_key: str, name: str) -> bytes:
    # A kid is a key's own and nobody else's, so the file's name is a salt for each file. Kept,
    # because one start reads the files more than once.
    derivation = Scrypt(salt=name.encode("utf-8"), length=32, n=SCRYPT_N, r=8, p=1)
    return derivation.derive(master_key.encode("utf-8")).hex().encode("ascii")


def _replace(path: Path, content: bytes) -> None:
    # Made with mode 0600, and under a name that is no key file's.
    descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    written = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """After a power cut the file has its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
