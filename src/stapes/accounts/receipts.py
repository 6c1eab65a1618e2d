"""Usage receipts: what a session used, signed with the key that signs tokens.

A receipt is a JSON object whose ``signature`` is a JWS with a detached payload (RFC 7515 appendix
F, RFC 7797) over the JSON of all its other members: keys sorted, no spaces, ASCII. Anybody who has
the public keys can check it without this software. Its numbers are integers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stapes.errors import ReceiptError
from stapes.tokens.keys import ALGORITHM, SigningKey

TYPE = "stapes-receipt+json"
AMOUNTS = ("audioInMs", "speechInMs", "wallInMs", "words")
_JWS = jwt.PyJWS(algorithms=[ALGORITHM])
_HEADER_MEMBERS = {"alg", "b64", "crit", "kid", "typ"}


@dataclass(frozen=True, slots=True)
class StreamUse:
    """What one stream used. ``ended_by`` says why it ended, in one word; times in ms."""

    stream: int
    engine: str
    opened_at: datetime
    closed_at: datetime
    ended_by: str
    audio_ms: int
    speech_ms: int
    wall_ms: int
    words: int


def receipt(
    *,
    session_id: str,
    tenancy_id: str,
    compartment_id: str,
    user_id: str,
    issuer: str,
    freeform_tags: Mapping[str, str] | None,
    defined_tags: Mapping[str, Mapping[str, str | int | bool]] | None,
    streams: Sequence[StreamUse],
) -> dict[str, Any]:
    """The receipt of a session whose streams have all ended, without its signature.

    Amounts of the session are the sums over its streams.
    """
    each = [_stream(use) for use in streams]
    return {
        "version": 1,
        "issuer": issuer,
        "sessionId": session_id,
        "tenancyId": tenancy_id,
        "compartmentId": compartment_id,
        "userId": user_id,
        "freeformTags": dict(freeform_tags or {}),
        "definedTags": {name: dict(tags) for name, tags in (defined_tags or {}).items()},
        "streams": each,
        **{name: sum(stream[name] for stream in each) for name in AMOUNTS},
    }


def sign(unsigned: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """The receipt with its signature. The same receipt and key give the same text."""
    text = _JWS.encode(
        _to_bytes(unsigned),
        key.private_key,
        algorithm=ALGORITHM,
        headers={"kid": key.kid, "typ": TYPE},
        is_payload_detached=True,
    )
    return {**unsigned, "signature": text}


def verify(signed: Mapping[str, Any], keys: Mapping[str, Ed25519PublicKey]) -> str:
    """Check a receipt; returns the ``kid`` of the key that signed it.

    Raises `stapes.errors.ReceiptError` when it was changed, is signed by none of ``keys``, or does
    not add up.
    """
    unsigned = {name: value for name, value in signed.items() if name != "signature"}
    kid = _check_signature(signed.get("signature"), _to_bytes(unsigned), keys)
    _check_sums(unsigned)
    return kid


def _check_signature(
    signature: object, payload: bytes, keys: Mapping[str, Ed25519PublicKey]
) -> str:
    if not isinstance(signature, str):
        raise ReceiptError("the receipt has no signature")
    try:
        header = _JWS.get_unverified_header(signature)
        if header.keys() != _HEADER_MEMBERS or header["typ"] != TYPE:
            raise ReceiptError("the signature is not one of a receipt")
        if (key := keys.get(header["kid"])) is None:
            raise ReceiptError(f"the receipt is signed with an unknown key, {header['kid']:.100}")
        _JWS.decode(signature, key, algorithms=[ALGORITHM], detached_payload=payload)
    except (jwt.PyJWTError, RecursionError) as error:
        raise ReceiptError(f"the signature does not verify: {error}") from error
    return str(header["kid"])


def _check_sums(unsigned: Mapping[str, Any]) -> None:
    for name in AMOUNTS:
        if unsigned[name] != sum(stream[name] for stream in unsigned["streams"]):
            raise ReceiptError(f"{name} is not the sum over the streams")


def _to_bytes(unsigned: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(unsigned, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ReceiptError(f"the receipt is no JSON: {error}") from error
    return text.encode("ascii")


def _stream(use: StreamUse) -> dict[str, Any]:
    return {
        "stream": use.stream,
        "engine": use.engine,
        "timeOpened": _time(use.opened_at),
        "timeClosed": _time(use.closed_at),
        "endedBy": use.ended_by,
        "audioInMs": use.audio_ms,
        "speechInMs": use.speech_ms,
        "wallInMs": use.wall_ms,
        "words": use.words,
    }


def _time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as nothing shorter says which stream is meant."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
