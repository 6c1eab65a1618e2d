"""Requests that were signed too early or too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stapes.errors import ClockSkewError
from stapes.signing.canonical import format_date
from stapes.signing.signer import sign_credentials
from stapes.signing.verification import verify_request
from tests.attacks.requests import ACCEPTED, NOT_AUTHENTICATED, PATH, send, sign, signer, wanted
from tests.attacks.sockets import NOT_AUTHENTICATED as REFUSED
from tests.attacks.sockets import OPENED, Answer, say
from tests.conftest import Served

SKEW_S = 300


@pytest.mark.parametrize("direction", [1, -1], ids=["ahead", "behind"])
def test_clock_skew(served: Served, direction: int) -> None:
    """Within five minutes either way, two seconds aside for the way to the server."""
    body = wanted(served)
    for offset_s, answer in (
        (SKEW_S - 2, ACCEPTED),
        (SKEW_S + 2, NOT_AUTHENTICATED),
        (86400, NOT_AUTHENTICATED),
    ):
        now = datetime.now(UTC) + timedelta(seconds=offset_s * direction)
        assert send(served, sign(served, body, now=now), body).refusal == answer


@pytest.mark.parametrize("direction", [1, -1], ids=["ahead", "behind"])
def test_clock_skew_to_the_second(served: Served, direction: int) -> None:
    """300 s are accepted and 301 refused, by the server's own keys and a clock that stands."""
    body, now = wanted(served), datetime.now(UTC).replace(microsecond=0)
    known = served.deployment.known
    for offset_s in (SKEW_S, SKEW_S + 1):
        signed = sign(served, body, now=now + timedelta(seconds=offset_s * direction))
        arguments = ("POST", PATH, signed.items(), body)
        find = lambda key_id: known.find_public_key(key_id, now)  # noqa: E731
        if offset_s == SKEW_S:
            assert verify_request(*arguments, find, now, SKEW_S).user_id == served.home.user_id
        else:
            with pytest.raises(ClockSkewError):
                verify_request(*arguments, find, now, SKEW_S)


def test_date_beside_x_date(served: Served) -> None:
    """Whichever of the two says so: an old signature is not made young by a new date."""
    body = wanted(served)
    now = datetime.now(UTC)
    old = sign(served, body, now=now - timedelta(days=1))
    for added in (
        {"date": format_date(now)},
        {"x-date": format_date(now)},
        {"date": format_date(now), "x-date": format_date(now)},
    ):
        assert send(served, old | added, body).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "date",
    ["", "now", "0", "2026-11-22T12:00:00Z", "Sun, 99 Nov 2026 99:99:99 GMT", "x" * 9000],
)
def test_date_that_is_none(served: Served, date: str) -> None:
    """No other form is tried."""
    body = wanted(served)
    assert send(served, {**sign(served, body), "date": date}, body).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize("direction", [1, -1], ids=["ahead", "behind"])
async def test_clock_skew_of_credentials(served: Served, direction: int) -> None:
    """The same on the socket."""
    key_id, key = signer(served)

    async def answer(offset_s: int) -> Answer:
        now = datetime.now(UTC) + timedelta(seconds=offset_s * direction)
        headers = sign_credentials(served.ws_url, key_id, key, now)
        message = {
            "authenticationType": "CREDENTIALS",
            "compartmentId": served.home.compartment_id,
            "headers": headers,
        }
        return await say(served.ws_url, message)

    assert await answer(SKEW_S - 2) == OPENED
    assert await answer(SKEW_S + 2) == REFUSED
