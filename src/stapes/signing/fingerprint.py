"""The fingerprint that names an API key."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def fingerprint(public_key: RSAPublicKey) -> str:
    """Colon-separated MD5 of the DER SubjectPublicKeyInfo, as OCI shows it.

    It names a key and proves nothing: signatures are checked with the key that the server keeps.
    """
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.md5(der, usedforsecurity=False).digest().hex(":")
