"""Profiles of an OCI SDK configuration file: who signs, and with which key.

Source: "SDK and CLI Configuration File" of the OCI documentation. A profile other than DEFAULT
takes what it does not say from DEFAULT, as in the SDKs.
"""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stapes.errors import ClientError
from stapes.signing.authorization import KeyId

DEFAULT_PROFILE = "DEFAULT"
HOME_CONFIG_FILE = Path("~/.stapes/oci/config")
OCI_CONFIG_FILE = Path("~/.oci/config")


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of a configuration file.

    Attributes:
        compartment: OCID of the compartment to use when none is named; the tenancy's own OCID
            (its root compartment) when the file names none.
        pass_phrase: opens ``key_file`` when that is encrypted.
    """

    name: str
    user: str
    tenancy: str
    fingerprint: str
    key_file: Path
    compartment: str
    pass_phrase: str | None = field(default=None, repr=False)

    @property
    def key_id(self) -> KeyId:
        """What names the profile's key in a signature."""
        return KeyId(self.tenancy, self.user, self.fingerprint)


@dataclass(frozen=True, slots=True)
class Server:
    """Where to stream, as whom, and for which compartment."""

    url: str
    profile: Profile
    compartment_id: str


def default_config_file() -> Path:
    """``$OCI_CONFIG_FILE``, else the file of ``stapes init`` when there is one, else OCI's own."""
    if named := os.environ.get("OCI_CONFIG_FILE"):
        return Path(named).expanduser()
    ours = HOME_CONFIG_FILE.expanduser()
    return ours if ours.exists() else OCI_CONFIG_FILE.expanduser()


def read_profile(config_file: Path | None = None, name: str = DEFAULT_PROFILE) -> Profile:
    """Read a profile. ``config_file`` None stands for `default_config_file`.

    Raises:
        ClientError: no such file or profile, or a field is missing; the sentence names it.
    """
    path = (config_file or default_config_file()).expanduser()
    values = _section(path, name)
    required = {key: values.get(key, "") for key in ("user", "tenancy", "fingerprint", "key_file")}
    if missing := [key for key, value in required.items() if not value]:
        raise ClientError(f"profile {name} of {path} lacks {', '.join(missing)}")
    return Profile(
        name=name,
        user=required["user"],
        tenancy=required["tenancy"],
        fingerprint=required["fingerprint"],
        key_file=Path(required["key_file"]).expanduser(),
        compartment=values.get("compartment") or required["tenancy"],
        pass_phrase=values.get("pass_phrase"),
    )


def _section(path: Path, name: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        raise ClientError(
            f"no OCI configuration file at {path}; `stapes init` writes one, "
            "--config-file names another"
        ) from None
    except (OSError, UnicodeDecodeError, Error) as error:
        raise ClientError(f"cannot read the OCI configuration file {path}: {error}") from error
    if name != DEFAULT_PROFILE and name not in parser:
        known = ", ".join([DEFAULT_PROFILE, *parser.sections()])
        raise ClientError(f"no profile {name} in {path}; it has {known}")
    return dict(parser[name])


def load_private_key(profile: Profile) -> RSAPrivateKey:
    """The RSA key of ``profile``.

    Raises:
        ClientError: the key file is missing, is no RSA key in PEM, or its pass phrase is wrong.
    """
    pass_phrase = profile.pass_phrase.encode() if profile.pass_phrase else None
    try:
        key = load_pem_private_key(profile.key_file.read_bytes(), pass_phrase)
    except OSError as error:
        raise ClientError(f"cannot read the key file {profile.key_file}: {error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ClientError(f"{profile.key_file} is no key that opens: {error}") from error
    if not isinstance(key, RSAPrivateKey):
        raise ClientError(f"{profile.key_file} holds no RSA key")
    return key
