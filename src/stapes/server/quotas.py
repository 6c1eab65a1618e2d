"""How much anybody may have at a time or a minute, and who has had how much.

A refusal is counted and never touches what runs. What other servers of the same database serve and
mint is counted too, as of the last look at it (`stapes.server.known.Known.elsewhere`).
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from stapes.errors import (
    FailedAuthenticationsError,
    LiveSessionsError,
    QuotaError,
    TokenRateError,
    UnauthenticatedSocketsError,
)
from stapes.settings import Settings
from stapes.store.port import Use
from stapes.tokens.grant import Grant

IPV6_NETWORK_BITS = 64
"""One household or server has a whole network of this size: its addresses count as one."""


@dataclass(slots=True)
class Elsewhere:
    """What other servers of the database serve and minted, summed by whom it counts for.

    Of what is live, by a field of its grant and the OCID in it: a tenancy's is its root
    compartment's too.
    """

    live: Counter[tuple[str, str]] = field(default_factory=Counter)
    minted: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, uses: Iterable[Use]) -> Elsewhere:
        """Sum what the store tells."""
        elsewhere = cls()
        for use in uses:
            for name in ("tenancy_id", "compartment_id", "user_id"):
                elsewhere.live[name, getattr(use, name)] += use.live
            elsewhere.minted[use.user_id] += use.minted
        return elsewhere


class Quotas:
    """The quotas of one server.

    Attributes:
        refused: how many were refused, by the name of the error.
        elsewhere: what other servers serve; replaced as it changes.
    """

    def __init__(self, settings: Settings) -> None:
        """Nothing counted yet."""
        self.refused: Counter[str] = Counter()
        self.elsewhere = Elsewhere()
        self._settings = settings
        self._rates = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._failures = MovingWindowRateLimiter(MemoryStorage())
        failures = settings.failed_authentications_per_minute
        self._failed_at = -math.inf  # monotonic; the last time, of whatever address
        self._failure_rate = RateLimitItemPerMinute(failures) if failures else None
        self._waiting: Counter[str] = Counter()
        self._waiting_in_all = 0

    def check_live(self, grant: Grant, live: Callable[[Callable[[Grant], bool]], int]) -> None:
        """Raise `LiveSessionsError` when a session that was just opened is one too many.

        ``live`` counts the sessions of this server for which a condition holds, the new one
        among them. One that goes on after a break is not checked again: it may still count
        elsewhere, and would be one too many beside itself.
        """
        settings, others = self._settings, self.elsewhere.live
        for name, limit in (
            ("tenancy_id", settings.live_sessions_per_tenancy),
            ("compartment_id", settings.live_sessions_per_compartment),
            ("user_id", settings.live_sessions_per_user),
        ):
            of, whose = attrgetter(name), getattr(grant, name)
            if limit and live(partial(_is_of, of, whose)) + others[name, whose] > limit:
                raise self._refusal(LiveSessionsError(f"{whose} has {limit} live sessions"))

    def take_token(self, user_id: str) -> None:
        """Count a token that is minted for a user. Raises `TokenRateError` when it is too many."""
        limit = self._settings.tokens_per_minute_per_user
        if not limit:
            return
        rate = RateLimitItemPerMinute(limit)
        cost = 1 + self.elsewhere.minted[user_id]
        if cost > limit or not (
            (cost == 1 or self._rates.test(rate, user_id, cost=cost))
            and self._rates.hit(rate, user_id)
        ):
            wait_s = _wait_s(self._rates, rate, user_id)
            raise self._refusal(
                TokenRateError(f"{user_id} minted {limit} in a minute", retry_after_s=wait_s)
            )

    def check_failures(self, address: str) -> None:
        """Raise `FailedAuthenticationsError` when an address failed too often of late."""
        rate, name = self._failure_rate, network(address)
        if rate is None or time.monotonic() - self._failed_at > rate.get_expiry():
            return
        if not self._failures.test(rate, name):
            wait_s = _wait_s(self._failures, rate, name)
            raise self._refusal(
                FailedAuthenticationsError(
                    f"{name} failed {rate.amount} times", retry_after_s=wait_s
                )
            )

    def note_failure(self, address: str) -> None:
        """Count a failed authentication of an address."""
        if self._failure_rate is not None:
            self._failed_at = time.monotonic()
            self._failures.hit(self._failure_rate, network(address))

    def enter(self, address: str) -> None:
        """Count a socket that has not authenticated, until `leave`.

        Raises `UnauthenticatedSocketsError`, having counted it all the same, when it is one too
        many of the address or in all.
        """
        name = network(address)
        self._waiting[name] += 1
        self._waiting_in_all += 1
        settings = self._settings
        for count, limit in (
            (self._waiting[name], settings.unauthenticated_sockets_per_address),
            (self._waiting_in_all, settings.unauthenticated_sockets),
        ):
            if limit and count > limit:
                raise self._refusal(UnauthenticatedSocketsError(f"{name} has {limit} waiting"))

    def leave(self, address: str) -> None:
        """A socket authenticated, or is gone."""
        name = network(address)
        self._waiting[name] -= 1
        self._waiting_in_all -= 1
        if not self._waiting[name]:
            del self._waiting[name]

    def _refusal(self, error: QuotaError) -> QuotaError:
        self.refused[type(error).__name__] += 1
        return error


def _is_of(of: Callable[[Grant], str], whose: str, grant: Grant) -> bool:
    return of(grant) == whose


@lru_cache(4096)
def network(address: str) -> str:
    """What an address counts as: itself, or its network when it is of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address  # a peer without one: a Unix socket, a test
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))


def _wait_s(limiter: RateLimiter, rate: RateLimitItem, name: str) -> int:
    """Seconds until the window gives way, at least one."""
    reset_at = limiter.get_window_stats(rate, name).reset_time
    return max(1, math.ceil(reset_at - time.time()))
