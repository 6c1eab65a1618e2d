"""Making session tokens."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from stapes.tokens.keys import SigningKey
from stapes.tokens.limits import Limits
from stapes.tokens.minting import mint
from tests.tokens.claimed import some_claims


def part(token: str, at: int) -> dict[str, Any]:
    text = token.split(".")[at]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return read


def test_the_claims_say_who_where_and_until_when(now: datetime) -> None:
    """All claims are there, times in whole seconds; none that is not needed."""
    issued = int(now.timestamp())
    assert some_claims(now + timedelta(microseconds=999_999)) == {
        "iss": "stapes",
        "aud": "stapes-realtime",
        "sub": "user",
        "sid": "session",
        "tenant": "tenancy",
        "compartment": "compartment",
        "iat": issued,
        "nbf": issued,
        "exp": issued + 3600,
        "jti": "id",
    }


def test_limits_are_a_claim_when_there_are_any(now: datetime) -> None:
    """The limits claim is added, and nothing else changes."""
    assert some_claims(now, limits=Limits(max_audio_s=9)) == some_claims(now) | {
        "limits": {"max-audio-seconds": 9}
    }


@pytest.mark.parametrize(("asked", "given"), [(60, 60), (3600, 3600), (7200, 3600)])
def test_a_life_among_the_limits_only_shortens(now: datetime, asked: int, given: int) -> None:
    """A token never lives longer than the server's setting."""
    bounded = some_claims(now, limits=Limits(ttl_s=asked))
    assert bounded["exp"] - bounded["iat"] == given


def test_the_token_carries_header_and_claims(now: datetime, key: SigningKey) -> None:
    """The header names algorithm, type and key; the payload is the claims."""
    token = mint(some_claims(now), key)
    assert part(token, 0) == {"alg": "EdDSA", "kid": key.kid, "typ": "JWT"}
    assert part(token, 1) == some_claims(now)


def test_minting_again_gives_the_same_bytes(now: datetime, key: SigningKey) -> None:
    """Whatever order the claims come in, token and signature are the same."""
    some = some_claims(now, limits=Limits(single_use=True, ttl_s=60))
    shuffled = dict(reversed(some.items()))
    shuffled["limits"] = dict(reversed(some["limits"].items()))
    assert mint(shuffled, key) == mint(some, key) == mint(json.loads(json.dumps(some)), key)
