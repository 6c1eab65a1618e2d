"""A token that is signed with another algorithm, some with what everybody knows as its key."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stapes.tokens.keys import jwk, jwks
from tests.attacks.forging import encode, encode_json, fresh_claims, header_of, own_key
from tests.attacks.sockets import NOT_AUTHENTICATED, show_text
from tests.conftest import Served

pytestmark = pytest.mark.usefixtures("_nothing_reached")


def unsigned(served: Served, algorithm: str) -> str:
    header = header_of(served, alg=algorithm)
    return f"{encode_json(header)}.{encode_json(fresh_claims(served))}"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "EdDSA"])
@pytest.mark.parametrize("form", ["raw", "pem", "der", "jwk", "jwks", "x", "empty"])
async def test_public_key_as_hmac_secret(served: Served, form: str, algorithm: str) -> None:
    """In every form in which the public key is at hand, under an honest name and a false one."""
    key = own_key(served).private_key.public_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    secret = {
        "raw": key.public_bytes_raw(),
        "pem": key.public_bytes(Encoding.PEM, spki),
        "der": key.public_bytes(Encoding.DER, spki),
        "jwk": json.dumps(jwk(key)).encode(),
        "jwks": json.dumps(jwks([key])).encode(),
        "x": jwk(key)["x"].encode(),
        "empty": b"",
    }[form]
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(algorithm, hashlib.sha256)
    text = unsigned(served, algorithm)
    mac = hmac.digest(secret, text.encode(), digest)
    assert await show_text(served, f"{text}.{encode(mac)}") == NOT_AUTHENTICATED


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "Ed25519", "eddsa", "EdDSA "])
async def test_other_algorithm(served: Served, algorithm: str) -> None:
    """A good RSA signature of the forger's own key."""
    text = unsigned(served, algorithm)
    key = rsa.generate_private_key(65537, 2048)
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert await show_text(served, f"{text}.{encode(signature)}") == NOT_AUTHENTICATED


async def test_elliptic_curve(served: Served) -> None:
    """A good ECDSA signature of the forger's own key, and the all-zero one of a known flaw."""
    text = unsigned(served, "ES256")
    signature = ec.generate_private_key(ec.SECP256R1()).sign(
        text.encode(), ec.ECDSA(hashes.SHA256())
    )
    for each in (signature, bytes(64)):
        assert await show_text(served, f"{text}.{encode(each)}") == NOT_AUTHENTICATED
