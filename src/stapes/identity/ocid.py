"""OCIDs: ``ocid1.<resource>.oc1..<60 characters of lower-case base 32>``."""

from __future__ import annotations

import base64
import re

RESOURCES = ("tenancy", "user", "group", "compartment", "policy", "aispeechrealtimesession")
ENTROPY_BYTES = 38
_UNIQUE_LENGTH = 60
_UNIQUE = re.compile(rf"[a-z2-7]{{{_UNIQUE_LENGTH}}}")


def format_ocid(resource: str, entropy: bytes) -> str:
    """Make an OCID of a resource in `RESOURCES` from `ENTROPY_BYTES` random bytes.

    The first 300 of the 304 bits are used. Raises ValueError for another resource or length.
    """
    if resource not in RESOURCES or len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"no OCID for {resource!r} with {len(entropy)} bytes")
    unique = base64.b32encode(entropy).decode("ascii").lower()[:_UNIQUE_LENGTH]
    return f"ocid1.{resource}.oc1..{unique}"


def is_ocid(text: str, resource: str) -> bool:
    """Whether the text is an OCID of that resource, in the form this server makes."""
    prefix = f"ocid1.{resource}.oc1.."
    return text.startswith(prefix) and bool(_UNIQUE.fullmatch(text, len(prefix)))
