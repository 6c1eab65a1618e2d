"""Check signed requests and signed websocket credentials.

Source: OCI request signatures v1. The peer reads one sentence for every failure; the reason is
for the log.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from stapes.errors import (
    ClockSkewError,
    DigestMismatchError,
    MalformedSignatureError,
    SignatureMismatchError,
    SignatureTargetError,
    UnknownKeyError,
)
from stapes.signing.authorization import Authorization, KeyId, parse_authorization
from stapes.signing.canonical import (
    Fields,
    digest,
    field_value,
    fields_of,
    one_value,
    parse_date,
    required_names,
    signing_string,
    split_uri,
)

SHORTEST_KEY_BITS = 2048
STREAM_PATH = "/ws/transcribe/stream"

_PADDING, _HASH = PKCS1v15(), SHA256()

FindKey = Callable[[KeyId], RSAPublicKey | None]
"""The loaded public key of a keyId; it must compare all three parts, tenancy included."""


def verify_request(  # noqa: PLR0917
    method: str,
    raw_target: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    find_key: FindKey,
    now: datetime,
    skew_s: float,
) -> KeyId:
    """Verify a signed HTTP request and say who signed it.

    Args:
        method: as in the request line.
        raw_target: path and query exactly as sent, never decoded or encoded again.
        headers: all of the request's, in any case; each occurrence is a pair.
        body: all of it.
        find_key: gives the signer's key, or None.
        now: aware.
        skew_s: how far the signed date may be off, either way, s.

    Raises the leaves of `stapes.errors.SignatureError`.
    """
    return _verify(
        method, raw_target, fields_of(headers), body, find_key=find_key, now=now, skew_s=skew_s
    )


def verify_credentials(
    headers: Mapping[str, str], find_key: FindKey, now: datetime, skew_s: float
) -> KeyId:
    """Verify the ``headers`` of a websocket CREDENTIALS message and say who signed them.

    They are those of a GET of ``uri``: the socket's path with any query, or ``/`` without one,
    which is what some clients sign. A signature over anything else is refused, so that a request
    signed for another service cannot be replayed here. It is not bound to this connection: clients
    sign other hosts and forms of the URL than they connect to.

    Raises the leaves of `stapes.errors.SignatureError`.
    """
    fields = fields_of(headers.items())
    _, target = split_uri(field_value(fields, "uri"))
    if target != "/" and target.partition("?")[0] != STREAM_PATH:
        raise SignatureTargetError(f"signed for {target:.100}")
    return _verify("GET", target, fields, b"", find_key=find_key, now=now, skew_s=skew_s)


def _verify(
    method: str,
    target: str,
    fields: Fields,
    body: bytes,
    *,
    find_key: FindKey,
    now: datetime,
    skew_s: float,
) -> KeyId:
    authorization = parse_authorization(one_value(fields, "authorization"))
    signed = frozenset(authorization.headers)
    _check_required(signed, method)
    _check_date(signed, fields, now, skew_s)
    _check_body(signed, fields, body)
    text = signing_string(authorization.headers, method, target, fields)
    _check_signature(authorization, text, find_key)
    return authorization.key_id


def _check_required(signed: frozenset[str], method: str) -> None:
    if not signed.issuperset(required_names(method)):
        missing = [name for name in required_names(method) if name not in signed]
        raise MalformedSignatureError(f"not signed: {' '.join(missing)}")


def _check_date(signed: frozenset[str], fields: Fields, now: datetime, skew_s: float) -> None:
    name = "x-date" if "x-date" in fields else "date"
    if name not in signed:
        raise MalformedSignatureError(f"not signed: {name}")
    if abs(now - parse_date(field_value(fields, name))) > timedelta(seconds=skew_s):
        raise ClockSkewError(f"{name} is more than {skew_s} s off")


def _check_body(signed: frozenset[str], fields: Fields, body: bytes) -> None:
    if "content-length" in signed and field_value(fields, "content-length") != str(len(body)):
        raise DigestMismatchError("content-length is not that of the body")
    if "x-content-sha256" in signed:
        claimed = field_value(fields, "x-content-sha256")
        if not hmac.compare_digest(claimed, digest(body)):
            raise DigestMismatchError("x-content-sha256 is not that of the body")
    elif body:
        raise DigestMismatchError("the body is not signed")


def _check_signature(authorization: Authorization, text: bytes, find_key: FindKey) -> None:
    key = find_key(authorization.key_id)
    if key is None:
        raise UnknownKeyError(f"no key {authorization.key_id}")
    if key.key_size < SHORTEST_KEY_BITS:
        raise UnknownKeyError(f"key {authorization.key_id} has only {key.key_size} bits")
    try:
        key.verify(authorization.signature, text, _PADDING, _HASH)
    except InvalidSignature as error:
        raise SignatureMismatchError(f"signature by {authorization.key_id} is wrong") from error
