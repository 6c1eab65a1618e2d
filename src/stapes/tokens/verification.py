"""Verify session tokens, one function a check.

The algorithm is ours and never the token's (RFC 8725 section 3.1). Only the signature is left to
the JWT library: the times are checked here against the ``now`` that is given.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stapes.errors import (
    TokenAlgorithmError,
    TokenClaimError,
    TokenCompartmentError,
    TokenExpiredError,
    TokenKeyError,
    TokenMalformedError,
    TokenNotYetValidError,
    TokenSignatureError,
)
from stapes.tokens.grant import Grant
from stapes.tokens.keys import ALGORITHM
from stapes.tokens.limits import parse_claim

LONGEST_BYTES = 8 * 1024
_JWS = jwt.PyJWS(algorithms=[ALGORITHM])
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_HEADER_MEMBERS = {"alg", "kid", "typ"}
_LAST_SECOND = 253402300799  # of the year 9999, the last that datetime knows

Keys = Mapping[str, Ed25519PublicKey]
"""Public keys by ``kid``."""


def verify(  # noqa: PLR0917
    token: str,
    keys: Keys,
    issuer: str,
    audience: str,
    now: datetime,
    skew_s: float,
    late_s: float = 0,
) -> Grant:
    """Verify a session token and say what it grants.

    ``now`` is aware; ``skew_s`` is how far other clocks may be off, s; ``late_s`` is how long after
    its ``exp`` it still does, to go on with what it opened before. Raises the leaves of
    `stapes.errors.TokenError`; the compartment is checked by `check_compartment`.
    """
    _check_form(token)
    header = _header(token)
    _check_algorithm(header)
    _check_header_members(header)
    claims = _signed_claims(token, _key(header, keys))
    _check_equal(claims, "iss", issuer)
    _check_equal(claims, "aud", audience)
    _check_started(claims, "iat", now, skew_s)
    _check_started(claims, "nbf", now, skew_s)
    _check_not_expired(claims, now, skew_s + late_s)
    return _grant(claims, header["kid"])


def check_compartment(grant: Grant, compartment_id: str) -> None:
    """Raise `TokenCompartmentError` unless the token was made for this compartment."""
    if grant.compartment_id != compartment_id:
        raise TokenCompartmentError(f"the token is for {grant.compartment_id}")


def _check_form(token: str) -> None:
    if len(token) > LONGEST_BYTES or not _TOKEN.fullmatch(token):
        raise TokenMalformedError("too long, or not three parts of base64url")
    # One token has one text: the last character's unused bits must be zero (RFC 4648 section 3.5).
    # Not every release of the library that may be installed looks.
    for part in token.split("."):
        if _decode_part(part) is None:
            raise TokenMalformedError("a part is not canonical base64url")


def _decode_part(part: str) -> bytes | None:
    if len(part) % 4 == 1:
        return None
    decoded = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    return decoded if urlsafe_b64encode(decoded).rstrip(b"=").decode() == part else None


def _header(token: str) -> dict[str, Any]:
    try:
        return _JWS.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError) as error:
        raise TokenMalformedError(f"header: {error}") from error


def _check_algorithm(header: dict[str, Any]) -> None:
    if header.get("alg") != ALGORITHM:
        raise TokenAlgorithmError(f"alg is {header.get('alg')!r:.100}")


def _check_header_members(header: dict[str, Any]) -> None:
    # Ours have these and no others; so a key, a URL of one or a critical extension that a token
    # brings along (jwk, jku, x5u, crit: RFC 7515 section 4.1) is never even looked at.
    if header.keys() != _HEADER_MEMBERS or header["typ"] != "JWT":
        raise TokenMalformedError("header has other members than alg, kid and typ JWT")


def _key(header: dict[str, Any], keys: Keys) -> Ed25519PublicKey:
    key = keys.get(header["kid"])
    if key is None:
        raise TokenKeyError(f"kid is {header['kid']!r:.100}")
    return key


def _signed_claims(token: str, key: Ed25519PublicKey) -> dict[str, Any]:
    try:
        payload: bytes = _JWS.decode(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError as error:
        raise TokenSignatureError(str(error)) from error
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise TokenMalformedError("claims are not JSON") from error
    if not isinstance(claims, dict):
        raise TokenMalformedError("claims are not an object")
    return claims


def _check_equal(claims: dict[str, Any], name: str, expected: str) -> None:
    if _text(claims, name) != expected:
        raise TokenClaimError(f"{name} is not {expected}")


def _check_started(claims: dict[str, Any], name: str, now: datetime, skew_s: float) -> None:
    if now.timestamp() < _second(claims, name) - skew_s:
        raise TokenNotYetValidError(f"before {name}")


def _check_not_expired(claims: dict[str, Any], now: datetime, skew_s: float) -> None:
    if now.timestamp() >= _second(claims, "exp") + skew_s:
        raise TokenExpiredError("past exp")


def _grant(claims: dict[str, Any], kid: str) -> Grant:
    return Grant(
        session_id=_text(claims, "sid"),
        tenancy_id=_text(claims, "tenant"),
        compartment_id=_text(claims, "compartment"),
        user_id=_text(claims, "sub"),
        issued_at=datetime.fromtimestamp(_second(claims, "iat"), UTC),
        expires_at=datetime.fromtimestamp(_second(claims, "exp"), UTC),
        jti=_text(claims, "jti"),
        limits=parse_claim(claims["limits"]) if "limits" in claims else None,
        kid=kid,
    )


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenClaimError(f"{name} is missing or not a text")
    return value


def _second(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    # A bool is an int in Python, and none in JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_SECOND:
        raise TokenClaimError(f"{name} is missing or not a time in whole seconds")
    return value
