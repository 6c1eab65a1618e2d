"""Token-signing keys and their public form.

Sources: RFC 7517 (JWK), RFC 7638 (thumbprint), RFC 8037 (Ed25519 in both).
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "EdDSA"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name that its tokens carry."""

    kid: str
    private_key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, private_key: Ed25519PrivateKey) -> SigningKey:
        """Name a private key by the thumbprint of its public key."""
        return cls(thumbprint(private_key.public_key()), private_key)


def thumbprint(public_key: Ed25519PublicKey) -> str:
    """The key's ``kid``: base64url of the SHA-256 of its required members (RFC 7638 section 3)."""
    text = json.dumps(_members(public_key), separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(text.encode("ascii")).digest())


def jwk(public_key: Ed25519PublicKey) -> dict[str, str]:
    """The public JWK of a key, with its ``kid``."""
    named = {"kid": thumbprint(public_key), "use": "sig", "alg": ALGORITHM}
    return _members(public_key) | named


def jwks(public_keys: Iterable[Ed25519PublicKey]) -> dict[str, list[dict[str, str]]]:
    """The JWK set of keys, in their order."""
    return {"keys": [jwk(key) for key in public_keys]}


def parse_jwk(members: Mapping[str, str]) -> Ed25519PublicKey:
    """The public key of a JWK as `jwk` makes them; raises ValueError for any other."""
    text = members.get("x", "")
    key = Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if jwk(key) != dict(members):
        raise ValueError("not the JWK of an Ed25519 signing key")
    return key


def parse_jwks(document: object) -> dict[str, Ed25519PublicKey]:
    """The keys of a JWK set by ``kid``; those of other kinds are left out (RFC 7517 section 5).

    Raises ValueError when it is none, or holds no key of ours.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("it has no array of keys")
    keys: dict[str, Ed25519PublicKey] = {}
    for each in members:
        with suppress(ValueError, TypeError, AttributeError):
            keys[each["kid"]] = parse_jwk(each)
    if not keys:
        raise ValueError("it has no key that signs receipts")
    return keys


def _members(public_key: Ed25519PublicKey) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _encode(public_key.public_bytes_raw())}


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
