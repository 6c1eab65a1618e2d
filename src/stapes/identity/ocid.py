"""OCIDs: ``ocid1.<resource>.oc1..<60 characters of lower-case base 32>``."""

from __future__ import annotations

import re

RESOURCES = ("tenancy", "user", "group", "compartment", "policy", "aispeechrealtimesession")
ENTROPY_BYTES = 60
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz234567"
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_UNIQUE = re.compile(rf"[a-z2-7]{{{ENTROPY_BYTES}}}")


def format_ocid(resource: str, entropy: bytes) -> str:
    """Make an OCID of a resource in `RESOURCES` from `ENTROPY_BYTES` random bytes.

    Five bits of each byte are used. Raises ValueError for another resource or length.
    """
    if resource not in RESOURCES or len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"no OCID for {resource!r} with {len(entropy)} bytes")
    return f"ocid1.{resource}.oc1..{entropy.translate(_LETTERS).decode('ascii')}"


def is_ocid(text: str, resource: str) -> bool:
    """Whether the text is an OCID of that resource, in the form this server makes."""
    prefix = f"ocid1.{resource}.oc1.."
    return text.startswith(prefix) and bool(_UNIQUE.fullmatch(text, len(prefix)))
