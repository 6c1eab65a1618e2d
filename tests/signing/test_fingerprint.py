"""Fingerprints of API keys."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from stapes.signing.authorization import parse_key_id
from stapes.signing.fingerprint import fingerprint

CAPTURED = json.loads((Path(__file__).parents[1] / "vectors/oci_signatures.json").read_text())


def captured_key() -> RSAPublicKey:
    key = load_pem_public_key(CAPTURED["public_key"].encode())
    assert isinstance(key, RSAPublicKey)
    return key


def test_it_is_the_md5_of_the_public_key_in_der() -> None:
    """The sixteen bytes of the digest, in hex, joined by colons."""
    der = captured_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    shown = fingerprint(captured_key())
    assert bytes.fromhex(shown.replace(":", "")) == hashlib.md5(der).digest()  # noqa: S324


def test_it_fits_into_a_key_id() -> None:
    """A fingerprint is what a keyId ends in."""
    shown = fingerprint(captured_key())
    assert parse_key_id(f"tenancy/user/{shown}").fingerprint == shown
