"""A token, signed with the server's own key, before or after its time."""

from __future__ import annotations

import time

import pytest

from tests.attacks.forging import forged
from tests.attacks.sockets import NOT_AUTHENTICATED, OPENED, show_text
from tests.conftest import Served

SKEW_S = 30


def token_of(served: Served, **offsets_s: int) -> str:
    """With times so far from now; the server's clock is ours."""
    now = int(time.time())
    times = {"iat": -60, "nbf": -60, "exp": 60} | offsets_s
    return forged(served, **{name: now + offset for name, offset in times.items()})


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.usefixtures("_nothing_reached")
async def test_future(served: Served, name: str) -> None:
    """Later than the skew, by two seconds and by a day."""
    for offset_s in (SKEW_S + 2, 86400):
        forgery = token_of(served, exp=2 * 86400, **{name: offset_s})
        assert await show_text(served, forgery) == NOT_AUTHENTICATED


@pytest.mark.parametrize("name", ["nbf", "iat"])
async def test_future_within_the_skew(served: Served, name: str) -> None:
    """Clocks may differ by that much."""
    assert await show_text(served, token_of(served, **{name: SKEW_S - 1})) == OPENED


@pytest.mark.usefixtures("_nothing_reached")
async def test_expired(served: Served) -> None:
    """By a second more than the skew, and long ago."""
    for offset_s in (-SKEW_S - 1, -3600, -(10**9)):
        forgery = token_of(served, iat=offset_s - 60, nbf=offset_s - 60, exp=offset_s)
        assert await show_text(served, forgery) == NOT_AUTHENTICATED


async def test_expired_by_less_than_the_skew(served: Served) -> None:
    """By two seconds less, to leave one for the way to the server."""
    assert await show_text(served, token_of(served, exp=-SKEW_S + 2)) == OPENED


@pytest.mark.usefixtures("_nothing_reached")
async def test_times_that_are_none(served: Served) -> None:
    """Beyond all calendars, negative, a text, a fraction, infinite."""
    for value in (10**12, 10**30, -1, "9999999999", 9999999999.5, float("inf"), True):
        assert await show_text(served, forged(served, exp=value)) == NOT_AUTHENTICATED
