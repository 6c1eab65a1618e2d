"""A token, signed with the server's own key, that lacks a claim."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.forging import forged, fresh_claims, header_of, own_key, signed
from tests.attacks.sockets import NOT_AUTHENTICATED, OPENED, show_text
from tests.conftest import Served

CLAIMS = ("iss", "aud", "sub", "sid", "tenant", "compartment", "iat", "nbf", "exp", "jti")


async def test_complete_claims(served: Served) -> None:
    """What is forged here is refused for what it lacks: complete, it opens a stream."""
    assert await show_text(served, forged(served)) == OPENED


@pytest.mark.usefixtures("_nothing_reached")
@pytest.mark.parametrize("name", CLAIMS)
async def test_missing_claims(served: Served, name: str) -> None:
    """Each one, left out, null, empty and of another type."""
    complete = fresh_claims(served)
    without = {key: value for key, value in complete.items() if key != name}
    values: tuple[Any, ...] = (None, "", [], {}, True, -1, 1.5)
    for value in values:
        forgery = signed(own_key(served), header_of(served), {**without, name: value})
        assert await show_text(served, forgery) == NOT_AUTHENTICATED
    assert await show_text(served, forged(served, **{name: None})) == NOT_AUTHENTICATED


@pytest.mark.usefixtures("_nothing_reached")
async def test_no_claims(served: Served) -> None:
    """An empty object, and what is no object."""
    key, header = own_key(served), header_of(served)
    none_at_all: tuple[Any, ...] = ({}, [], "x", 1, None)
    for claims in none_at_all:
        assert await show_text(served, signed(key, header, claims)) == NOT_AUTHENTICATED
