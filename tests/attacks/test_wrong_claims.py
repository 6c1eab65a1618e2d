"""A token, signed with the server's own key, that was made for something else."""

from __future__ import annotations

import json

import pytest

from stapes import RealtimeSessionToken
from tests.attacks.forging import encode, encode_json, forged, fresh_claims, header_of, own_key
from tests.attacks.sockets import NOT_AUTHENTICATED, NOT_FOUND, presenting, say, show_text
from tests.conftest import Served

pytestmark = pytest.mark.usefixtures("_nothing_reached")
OTHER = "a" * 60


@pytest.mark.parametrize("issuer", ["other", "Stapes", "stapes ", "https://stapes", ["stapes"]])
async def test_wrong_issuer(served: Served, issuer: object) -> None:
    """To the letter."""
    assert await show_text(served, forged(served, iss=issuer)) == NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "audience", ["other", "stapes", "Stapes-Realtime", ["stapes-realtime"], "stapes-receipt"]
)
async def test_wrong_audience(served: Served, audience: object) -> None:
    """A receipt's, too, and a list that holds the right one: ours are texts."""
    assert await show_text(served, forged(served, aud=audience)) == NOT_AUTHENTICATED


@pytest.mark.parametrize("tenant", [f"ocid1.tenancy.oc1..{OTHER}", "*", "x"])
async def test_wrong_tenant(served: Served, tenant: str) -> None:
    """Even signed by us: the session would count for a tenancy that is not the user's."""
    assert await show_text(served, forged(served, tenant=tenant)) == NOT_AUTHENTICATED


@pytest.mark.parametrize("user", [f"ocid1.user.oc1..{OTHER}", "*", "' OR '1'='1"])
async def test_wrong_subject(served: Served, user: str) -> None:
    """Nobody of that name may use the compartment."""
    assert await show_text(served, forged(served, sub=user)) == NOT_FOUND


async def test_token_of_another_compartment(served: Served, token: RealtimeSessionToken) -> None:
    """The message has to name the token's, whatever the user may use beside."""
    home = served.home
    for other in (home.tenancy_id, home.compartment_id.upper(), f"{home.compartment_id} ", "*"):
        answer = await say(served.ws_url, presenting(token.token, other))
        assert answer == NOT_AUTHENTICATED
    root = forged(served, compartment=home.tenancy_id)
    assert await show_text(served, root) == NOT_AUTHENTICATED


async def test_compartment_without_a_grant(served: Served) -> None:
    """A token and a message that agree on a compartment that is not there."""
    other = f"ocid1.compartment.oc1..{OTHER}"
    message = presenting(forged(served, compartment=other), other)
    assert await say(served.ws_url, message) == NOT_FOUND


@pytest.mark.parametrize("limits", [[], "x", {"unknown": 1}, {"ttl-seconds": -1}, {"origin": 1}])
async def test_limits_that_cannot_be_read(served: Served, limits: object) -> None:
    """None of them is taken for no limits."""
    assert await show_text(served, forged(served, limits=limits)) == NOT_AUTHENTICATED


async def test_a_claim_twice(served: Served) -> None:
    """Two readers may differ on which one counts; ours takes the last, as it was signed."""
    for name, wrong in (("iss", "other"), ("tenant", "other"), ("exp", 1), ("limits", [])):
        last = json.dumps(fresh_claims(served, **{name: wrong}))[1:]
        good = json.dumps(fresh_claims(served).get(name, {}))
        payload = f'{{"{name}": {good}, {last}'
        text = f"{encode_json(header_of(served))}.{encode(payload.encode())}"
        signature = encode(own_key(served).private_key.sign(text.encode()))
        assert await show_text(served, f"{text}.{signature}") == NOT_AUTHENTICATED
