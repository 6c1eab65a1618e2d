"""A token that says where the key to verify it with is to be found."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stapes.tokens.keys import SigningKey, jwk
from tests.attacks.forging import fresh_claims, header_of, own_key, signed
from tests.attacks.sockets import NOT_AUTHENTICATED, show_text
from tests.conftest import Served

pytestmark = pytest.mark.usefixtures("_nothing_reached")
FORGER = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ELSEWHERE = "http://127.0.0.1:9/jwks.json"


@pytest.mark.parametrize(
    "kid",
    [
        FORGER.kid,
        "/dev/null",
        "../../../../../../dev/null",
        "keys/token-x.pem",
        "x' UNION SELECT 'AAAA' -- ",
        "'; DROP TABLE signing_keys; --",
        "| cat /etc/passwd",
        "http://127.0.0.1:9/key",
        "",
        " ",
        "a" * 4000,
        "\x00",
        "\r\nkid: x",
        0,
        None,
        True,
        [],
        ["a"],
        {},
        {"$ne": ""},
    ],
    ids=lambda it: repr(it)[:40],
)
async def test_kid(served: Served, kid: object) -> None:
    """A path, a query, a command, a URL, no text at all: none of them finds a key."""
    forgery = signed(FORGER, {**header_of(served), "kid": kid}, fresh_claims(served))
    assert await show_text(served, forgery) == NOT_AUTHENTICATED


async def test_kid_of_another_case(served: Served) -> None:
    """The name of the server's key is compared to the letter, and its own signature is no help."""
    own = own_key(served)
    for kid in (own.kid.swapcase(), f"{own.kid} ", own.kid[:-1], f"./{own.kid}"):
        forgery = signed(own, header_of(served, kid=kid), fresh_claims(served))
        assert await show_text(served, forgery) == NOT_AUTHENTICATED


async def test_forgers_key_under_the_servers_kid(served: Served) -> None:
    """The kid is no secret."""
    forgery = signed(FORGER, header_of(served), fresh_claims(served))
    assert await show_text(served, forgery) == NOT_AUTHENTICATED


INJECTED: dict[str, dict[str, Any]] = {
    "jku": {"jku": ELSEWHERE},
    "jwk": {"jwk": jwk(FORGER.private_key.public_key())},
    "x5u": {"x5u": ELSEWHERE},
    "x5c": {"x5c": ["MIIBszCCAVmgAwIBAgIUAA=="]},
    "x5t": {"x5t": "AAAA"},
    "crit": {"crit": ["exp"], "exp": 1},
    "crit unknown": {"crit": ["mine"], "mine": True},
    "b64": {"crit": ["b64"], "b64": False},
    "zip": {"zip": "DEF"},
    "nested": {"cty": "JWT"},
}


@pytest.mark.parametrize("brought", INJECTED.values(), ids=INJECTED)
@pytest.mark.parametrize("signer", ["forger", "server"])
async def test_key_in_the_header(served: Served, brought: dict[str, Any], signer: str) -> None:
    """A key, or a URL of one, that the token brings along is not looked at, whoever signed."""
    key = FORGER if signer == "forger" else own_key(served)
    for kid in (own_key(served).kid, FORGER.kid):
        header = header_of(served, kid=kid) | brought
        forgery = signed(key, header, fresh_claims(served))
        assert await show_text(served, forgery) == NOT_AUTHENTICATED
