"""Tokens that nobody minted, most of them signed with the server's own key."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stapes import CreateRealtimeSessionTokenDetails, RealtimeSessionToken
from stapes.tokens.keys import SigningKey
from tests.attacks.requests import ACCEPTED, send, sign
from tests.conftest import Served


def minted(server: Served, **tags: Any) -> RealtimeSessionToken:
    """A token of the administrator's, by the endpoint."""
    details = CreateRealtimeSessionTokenDetails(compartment_id=server.home.compartment_id, **tags)
    body = details.to_json().encode()
    reply = send(server, sign(server, body), body)
    assert reply.refusal == ACCEPTED, reply
    return RealtimeSessionToken.model_validate(reply.body)


def own_key(server: Served) -> SigningKey:
    """The key that the server signs with."""
    return server.deployment.signing_key(datetime.now(UTC))


def claims_of(token: str) -> dict[str, Any]:
    """What a token claims."""
    claims: dict[str, Any] = json.loads(decode(token.split(".")[1]))
    return claims


def fresh_claims(server: Served, **changes: Any) -> dict[str, Any]:
    """Claims that are good right now; None takes one away."""
    now = int(datetime.now(UTC).timestamp())
    home = server.home
    claims = {
        "iss": "stapes",
        "aud": "stapes-realtime",
        "sub": home.user_id,
        "sid": f"ocid1.aispeechrealtimesession.oc1..{'a' * 60}",
        "tenant": home.tenancy_id,
        "compartment": home.compartment_id,
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        "jti": "forged",
    }
    return {name: value for name, value in (claims | changes).items() if value is not None}


def header_of(server: Served, **changes: Any) -> dict[str, Any]:
    """The header of a token of the server's; None takes a member away."""
    header = {"alg": "EdDSA", "kid": own_key(server).kid, "typ": "JWT"} | changes
    return {name: value for name, value in header.items() if value is not None}


def signed(key: SigningKey, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A token of any header and claims, with a good signature of the key."""
    text = f"{encode_json(header)}.{encode_json(claims)}"
    return f"{text}.{encode(key.private_key.sign(text.encode()))}"


def forged(server: Served, **changes: Any) -> str:
    """A token of other claims, signed with the server's own key."""
    return signed(own_key(server), header_of(server), fresh_claims(server, **changes))


def encode_json(value: object) -> str:
    """A part of a token."""
    return encode(json.dumps(value).encode())


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a part."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
