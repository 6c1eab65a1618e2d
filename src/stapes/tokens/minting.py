"""Make session tokens: the claims, and the JWT that carries them (RFC 7519)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from stapes.tokens.keys import ALGORITHM, SigningKey
from stapes.tokens.limits import Limits


def claims(
    *,
    session_id: str,
    tenancy_id: str,
    compartment_id: str,
    user_id: str,
    jti: str,
    issuer: str,
    audience: str,
    now: datetime,
    ttl_s: int,
    limits: Limits | None = None,
) -> dict[str, Any]:
    """The claims of a token issued at ``now`` (aware, whole seconds count) for ``ttl_s``.

    A ``ttl_s`` among the limits shortens its life and never lengthens it.
    """
    issued = int(now.timestamp())
    life_s = min(ttl_s, limits.ttl_s) if limits and limits.ttl_s else ttl_s
    made: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": user_id,
        "sid": session_id,
        "tenant": tenancy_id,
        "compartment": compartment_id,
        "iat": issued,
        "nbf": issued,
        "exp": issued + life_s,
        "jti": jti,
    }
    return made | {"limits": limits.to_claim()} if limits else made


def mint(claims: Mapping[str, Any], key: SigningKey) -> str:
    """Sign claims (RFC 7515 section 5.1). The same claims and key give the same token.

    Ed25519 is deterministic (RFC 8032 section 5.1.6); sorting makes the text so, whatever order a
    database gave the claims back in.
    """
    signed = _header(key.kid) + b"." + _part(claims)
    return (signed + b"." + _encode(key.private_key.sign(signed))).decode("ascii")


@lru_cache(16)
def _header(kid: str) -> bytes:
    return _part({"alg": ALGORITHM, "kid": kid, "typ": "JWT"})


def _part(members: Mapping[str, Any]) -> bytes:
    return _encode(to_json(_sorted(members)))


def _sorted(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _sorted(members[name]) if type(members[name]) is dict else members[name]
        for name in sorted(members)
    }


def _encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
