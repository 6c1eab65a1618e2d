"""Quotas: what is one too many, for whom, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stapes.errors import (
    FailedAuthenticationsError,
    LiveSessionsError,
    TokenRateError,
    UnauthenticatedSocketsError,
)
from stapes.server.quotas import Elsewhere, Quotas, network
from stapes.settings import Settings
from stapes.store.port import Use
from stapes.tokens.grant import Grant
from tests.server.grants import grant

NEVER = 0


def quotas(**settings: Any) -> Quotas:
    off = dict.fromkeys(("live_sessions_per_tenancy", "tokens_per_minute_per_user"), NEVER)
    return Quotas(Settings(**{**off, **settings}))


def counting(*grants: Grant) -> Callable[[Callable[[Grant], bool]], int]:
    return lambda is_meant: sum(map(is_meant, grants))


MINE = grant("1")
COLLEAGUES = grant("2", user_id="v")
ELSEWHERE = grant("3", user_id="v", compartment_id="d")
OTHERS = grant("4", tenancy_id="x", user_id="w", compartment_id="e")


@pytest.mark.parametrize(
    ("setting", "counted"),
    [
        ("live_sessions_per_tenancy", 3),
        ("live_sessions_per_compartment", 2),
    ],
)
def test_live_sessions_are_limited_by_whose_they_are(setting: str, counted: int) -> None:
    """The session that opens is among those counted; those of others are not."""
    live = counting(MINE, COLLEAGUES, ELSEWHERE, OTHERS)
    quotas(**{setting: counted}).check_live(MINE, live)
    strict = quotas(**{setting: counted - 1})
    with pytest.raises(LiveSessionsError):
        strict.check_live(MINE, live)
    assert strict.refused == {"LiveSessionsError": 1}


def test_live_sessions_of_a_user_are_limited() -> None:
    """Whatever the compartments."""
    limited = quotas(live_sessions_per_user=1)
    limited.check_live(MINE, counting(MINE, COLLEAGUES))
    with pytest.raises(LiveSessionsError):
        limited.check_live(COLLEAGUES, counting(MINE, COLLEAGUES, ELSEWHERE))


def test_sessions_on_other_servers_count() -> None:
    """As of the last look at the store."""
    limited = quotas(live_sessions_per_tenancy=2)
    limited.check_live(MINE, counting(MINE))
    limited.elsewhere = Elsewhere.of([Use("t", "d", "v", live=1), Use("x", "e", "w", live=5)])
    limited.check_live(MINE, counting(MINE))
    with pytest.raises(LiveSessionsError):
        limited.check_live(MINE, counting(MINE, COLLEAGUES))


def test_a_session_in_the_root_compartment_counts_once() -> None:
    """The root compartment has the OCID of its tenancy, and is not all of it."""
    limited = quotas(live_sessions_per_tenancy=3, live_sessions_per_compartment=2)
    in_root = grant("5", compartment_id="t")
    limited.elsewhere = Elsewhere.of([Use("t", "t", "v", live=1), Use("t", "d", "v", live=1)])
    limited.check_live(in_root, counting(in_root))
    with pytest.raises(LiveSessionsError):
        limited.check_live(in_root, counting(in_root, MINE))


def test_tokens_of_a_minute_are_limited_by_user() -> None:
    """The refusal says how long to wait, and others mint on."""
    limited = quotas(tokens_per_minute_per_user=2)
    limited.take_token("u")
    limited.take_token("u")
    with pytest.raises(TokenRateError) as refused:
        limited.take_token("u")
    assert 1 <= refused.value.retry_after_s <= 120
    limited.take_token("v")
    assert limited.refused == {"TokenRateError": 1}


def test_tokens_minted_on_other_servers_count() -> None:
    """Together they may not be more."""
    limited = quotas(tokens_per_minute_per_user=3)
    limited.elsewhere = Elsewhere.of([Use("t", "c", "u", minted=1), Use("t", "d", "u", minted=1)])
    limited.take_token("u")
    with pytest.raises(TokenRateError):
        limited.take_token("u")
    limited.elsewhere = Elsewhere.of([Use("t", "c", "u", minted=9)])
    with pytest.raises(TokenRateError):
        limited.take_token("u")


def test_failures_are_counted_by_address() -> None:
    """Only failures count, and another address is another count."""
    limited = quotas(failed_authentications_per_minute=2)
    for _ in range(5):
        limited.check_failures("10.0.0.1")
    limited.note_failure("10.0.0.1")
    limited.note_failure("10.0.0.1")
    with pytest.raises(FailedAuthenticationsError) as refused:
        limited.check_failures("10.0.0.1")
    assert 1 <= refused.value.retry_after_s <= 61
    limited.check_failures("10.0.0.2")


def test_sockets_that_wait_are_limited_by_address_and_in_all() -> None:
    """One that was refused counts until it has left, and a place that is left is free."""
    limited = quotas(unauthenticated_sockets=3, unauthenticated_sockets_per_address=2)
    limited.enter("a")
    limited.enter("a")
    with pytest.raises(UnauthenticatedSocketsError):
        limited.enter("a")
    limited.leave("a")
    limited.enter("b")
    with pytest.raises(UnauthenticatedSocketsError):
        limited.enter("c")
    for address in ("a", "a", "b", "c"):
        limited.leave(address)
    limited.enter("c")


def test_nothing_is_refused_without_limits() -> None:
    """0 is no limit."""
    free = quotas(
        failed_authentications_per_minute=NEVER,
        unauthenticated_sockets=NEVER,
        unauthenticated_sockets_per_address=NEVER,
    )
    for _ in range(100):
        free.take_token("u")
        free.note_failure("a")
        free.check_failures("a")
        free.enter("a")
        free.check_live(MINE, counting(*[MINE] * 50))
    assert not free.refused


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str, counted: str) -> None:
    """Who has one has all of them."""
    assert network(address) == counted
