"""Profiles of an OCI configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from stapes.client.profile import default_config_file, load_private_key, read_profile
from stapes.errors import ClientError

CONFIG = """\
[DEFAULT]
user=ocid1.user.oc1..u
tenancy=ocid1.tenancy.oc1..t
fingerprint=aa:bb
key_file={key_file}

[OTHER]
user=ocid1.user.oc1..other
compartment=ocid1.compartment.oc1..c
pass_phrase=%open sesame
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG.format(key_file=tmp_path / "key.pem"))
    return path


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


def _write_key(path: Path, key: RSAPrivateKey, pass_phrase: str | None = None) -> None:
    encryption = BestAvailableEncryption(pass_phrase.encode()) if pass_phrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def test_default_profile_uses_the_root_compartment(config: Path) -> None:
    """Where the file names no compartment, it is the tenancy's own."""
    profile = read_profile(config)
    assert profile.user == "ocid1.user.oc1..u"
    assert profile.compartment == profile.tenancy == "ocid1.tenancy.oc1..t"
    assert str(profile.key_id) == "ocid1.tenancy.oc1..t/ocid1.user.oc1..u/aa:bb"
    assert profile.pass_phrase is None


def test_named_profile_takes_the_rest_from_default(config: Path) -> None:
    """What a profile does not say, DEFAULT says; a percent sign is a percent sign."""
    profile = read_profile(config, "OTHER")
    assert profile.user == "ocid1.user.oc1..other"
    assert profile.tenancy == "ocid1.tenancy.oc1..t"
    assert profile.compartment == "ocid1.compartment.oc1..c"
    assert profile.pass_phrase == "%open sesame"


def test_pass_phrase_stays_out_of_the_repr(config: Path) -> None:
    """A profile may be logged."""
    assert "sesame" not in repr(read_profile(config, "OTHER"))


def test_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    """Who has no configuration is told how to make one."""
    with pytest.raises(ClientError, match=r"nowhere; `stapes init` writes one"):
        read_profile(tmp_path / "nowhere")


def test_unknown_profile_is_told_the_known_ones(config: Path) -> None:
    """The names that the file has are listed."""
    with pytest.raises(ClientError, match=r"no profile NOBODY in .*config; it has DEFAULT, OTHER"):
        read_profile(config, "NOBODY")


def test_missing_fields_are_named(tmp_path: Path) -> None:
    """All of them at once."""
    path = tmp_path / "config"
    path.write_text("[DEFAULT]\nuser=u\ntenancy=\n")
    with pytest.raises(ClientError, match=r"DEFAULT of .*config lacks tenancy, fingerprint, key_f"):
        read_profile(path)


@pytest.mark.parametrize("content", [b"user=u\n", b"\xff\xfe\x00", b"[A]\nx=1\nx=2\n"])
def test_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever the parser thinks of it, the path is named."""
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ClientError, match=r"cannot read the OCI configuration file .*config"):
        read_profile(path)


def test_environment_names_the_default_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """``OCI_CONFIG_FILE`` is what the SDKs heed, too."""
    monkeypatch.setenv("OCI_CONFIG_FILE", "/somewhere/config")
    assert default_config_file() == Path("/somewhere/config")


def test_own_home_comes_before_the_sdk_s_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of ``stapes init`` is taken once it is there."""
    monkeypatch.delenv("OCI_CONFIG_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_config_file() == tmp_path / ".oci" / "config"
    ours = tmp_path / ".stapes" / "oci" / "config"
    ours.parent.mkdir(parents=True)
    ours.touch()
    assert default_config_file() == ours


def test_key_is_loaded(config: Path, key: RSAPrivateKey) -> None:
    """The key file is PEM."""
    _write_key(config.with_name("key.pem"), key)
    loaded = load_private_key(read_profile(config))
    assert loaded.private_numbers() == key.private_numbers()


def test_encrypted_key_is_opened_with_the_pass_phrase(config: Path, key: RSAPrivateKey) -> None:
    """And refused, in one line, without it."""
    _write_key(config.with_name("key.pem"), key, "%open sesame")
    loaded = load_private_key(read_profile(config, "OTHER"))
    assert loaded.private_numbers() == key.private_numbers()
    with pytest.raises(ClientError, match=r"key\.pem is no key that opens"):
        load_private_key(read_profile(config))


def test_missing_or_foreign_key_file_is_named(config: Path) -> None:
    """No file, no PEM, and a key of another kind."""
    key_file = config.with_name("key.pem")
    with pytest.raises(ClientError, match=r"cannot read the key file .*key\.pem"):
        load_private_key(read_profile(config))
    key_file.write_text("nothing")
    with pytest.raises(ClientError, match="no key that opens"):
        load_private_key(read_profile(config))
    key_file.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    with pytest.raises(ClientError, match="holds no RSA key"):
        load_private_key(read_profile(config))
