"""The ``Authorization`` value of a signed request, taken apart.

Source: OCI request signatures v1, which follows draft-cavage-http-signatures-08 section 4.1.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from stapes.errors import MalformedSignatureError, UnknownKeyError

LONGEST_BYTES = 8 * 1024
ALGORITHM = "rsa-sha256"
VERSION = "1"
MOST_REMEMBERED = 256

_PARAMETER = r'[A-Za-z]+="[^"\\\x00-\x1f\x7f]*"'
_SCHEME = re.compile(r"Signature[ \t]+", re.IGNORECASE)
_PARAMETERS = re.compile(rf"{_PARAMETER}(?:[ \t]*,[ \t]*{_PARAMETER})*[ \t]*")
_SIGNATURE = 'signature="'
_PAIR = re.compile(r'([A-Za-z]+)="([^"]*)"')
_REQUIRED = frozenset({"algorithm", "headers", "keyId", "signature"})
_KNOWN = _REQUIRED | {"version"}
_FINGERPRINT = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){15}")
_SECURITY_TOKEN = "ST$"  # noqa: S105 - the mark of a kind of keyId, no secret


@dataclass(frozen=True, slots=True)
class KeyId:
    """Which API key signed: of whom, and which of theirs. OCIDs are opaque here."""

    tenancy_id: str
    user_id: str
    fingerprint: str

    def __str__(self) -> str:
        """The form that stands in ``keyId``."""
        return f"{self.tenancy_id}/{self.user_id}/{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Authorization:
    """A parsed value; nothing in it has been verified.

    Attributes:
        version: always "1".
        key_id: who claims to have signed.
        algorithm: always "rsa-sha256".
        headers: the signed names, lower-cased, in signing order, each once.
        signature: the decoded signature.
    """

    version: str
    key_id: KeyId
    algorithm: str
    headers: tuple[str, ...]
    signature: bytes


def parse_authorization(value: str) -> Authorization:
    """Take an ``Authorization`` value apart; parameters may come in any order.

    Raises `MalformedSignatureError`, and `UnknownKeyError` for a kind of key nobody has here.
    """
    if len(value) > LONGEST_BYTES or not value.isascii():
        raise MalformedSignatureError("Authorization is too long or not ASCII")
    # All but the signature is the same in every request of a client, and is read once. What is
    # cut out stands between two quotes and holds none: what is left is taken apart as it was.
    before, found, rest = value.partition(_SIGNATURE)
    signature, closed, after = rest.partition('"')
    if not found or not closed:
        raise MalformedSignatureError("signature is missing")
    key_id, headers = _parse_constant(f'{before}{_SIGNATURE}"{after}')
    return Authorization(VERSION, key_id, ALGORITHM, headers, _signature(signature))


@lru_cache(MOST_REMEMBERED)
def _parse_constant(value: str) -> tuple[KeyId, tuple[str, ...]]:
    """Signer and signed names from what stands around the signature, whose place is empty."""
    found = _parameters(value)
    version, algorithm = found.get("version", VERSION), found["algorithm"]
    if version != VERSION or algorithm != ALGORITHM:
        raise MalformedSignatureError(f"version {version!r}, algorithm {algorithm!r}")
    return parse_key_id(found["keyId"]), _names(found["headers"])


def parse_key_id(text: str) -> KeyId:
    """Parse ``<tenancy OCID>/<user OCID>/<fingerprint>``.

    Raises `UnknownKeyError` for a security token (``ST$…``), which this server never issues, and
    `MalformedSignatureError` for anything else of another form.
    """
    if text.startswith(_SECURITY_TOKEN):
        raise UnknownKeyError("keyId is a security token")
    parts = text.split("/")
    if len(parts) != 3 or not all(parts) or not _FINGERPRINT.fullmatch(parts[2]):
        raise MalformedSignatureError("keyId is not tenancy/user/fingerprint")
    return KeyId(*parts)


def _parameters(value: str) -> dict[str, str]:
    scheme = _SCHEME.match(value)
    if scheme is None or not _PARAMETERS.fullmatch(value, scheme.end()):
        raise MalformedSignatureError("Authorization is not of the Signature scheme")
    pairs = _PAIR.findall(value, scheme.end())
    found = dict(pairs)
    # A parameter given twice, or one unknown here (such as ``expires``), could mean something
    # else to whoever signed; neither is guessed at.
    if len(found) != len(pairs) or not _REQUIRED <= found.keys() <= _KNOWN:
        raise MalformedSignatureError(f"parameters {sorted(name for name, _ in pairs)}")
    return found


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(" "))
    if not all(names) or len(set(names)) != len(names):
        raise MalformedSignatureError("a signed header is named twice, or not at all")
    return names


def _signature(text: str) -> bytes:
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedSignatureError("signature is not base64") from error
    # The decoder lets the unused bits of the last character be anything (RFC 4648 section 3.5).
    if not decoded or binascii.b2a_base64(decoded, newline=False).decode() != text:
        raise MalformedSignatureError("signature is empty or not canonical base64")
    return decoded
