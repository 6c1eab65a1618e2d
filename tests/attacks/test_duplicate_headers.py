"""A header twice, so that two readers may differ on which one counts."""

from __future__ import annotations

import pytest

from tests.attacks.requests import CANNOT_PARSE, NOT_AUTHENTICATED, send, sign, wanted
from tests.conftest import Served


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(
    "name", ["authorization", "date", "host", "x-content-sha256", "content-type"]
)
def test_duplicate_header(served: Served, name: str, place: str) -> None:
    """The same value or another, before or after, in whatever case: all are refused."""
    body = wanted(served)
    signed = sign(served, body)
    for value in (signed[name], "x", ""):
        for spelling in (name, name.upper(), name.title()):
            more = [(spelling, value)]
            pairs = [*signed.items()]
            pairs = more + pairs if place == "first" else pairs + more
            assert send(served, pairs, body).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize("value", ["same", "0", "1", "+1", "-1", "0x10", "", " ", "1, 1", "9" * 40])
def test_duplicate_content_length(served: Served, value: str) -> None:
    """Where one request ends and the next begins is never guessed at."""
    body = wanted(served)
    more = ("content-length", str(len(body)) if value == "same" else value)
    assert send(served, [*sign(served, body).items(), more], body).refusal == CANNOT_PARSE


def test_second_date(served: Served) -> None:
    """An x-date that was not signed does not stand in for the date that was."""
    body = wanted(served)
    signed = sign(served, body)
    assert send(served, {**signed, "x-date": signed["date"]}, body).refusal == NOT_AUTHENTICATED
    twice = [*signed.items(), ("x-date", signed["date"]), ("X-Date", signed["date"])]
    assert send(served, twice, body).refusal == NOT_AUTHENTICATED


def test_header_named_twice_in_the_signature(served: Served) -> None:
    """A signature that lists a name twice, or a parameter twice, is not taken apart."""
    body = wanted(served)
    signed = sign(served, body)
    for old, new in (
        ("date (request-target)", "date date (request-target)"),
        ('version="1"', 'version="1",version="1"'),
        ('algorithm="rsa-sha256"', 'algorithm="none",algorithm="rsa-sha256"'),
        ('algorithm="rsa-sha256"', 'algorithm="hs2019"'),
        ('algorithm="rsa-sha256"', 'algorithm="hmac-sha256"'),
        ('version="1"', 'version="1",expires="9999999999"'),
    ):
        changed = {**signed, "authorization": signed["authorization"].replace(old, new)}
        assert changed != signed
        assert send(served, changed, body).refusal == NOT_AUTHENTICATED
