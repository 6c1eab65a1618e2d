"""A flood of tokens, good and bad, costs the database nothing: none is verified by reading it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stapes import RealtimeSessionToken
from stapes.errors import StoreError
from stapes.server.authentication import grant_for_credentials, grant_for_token
from stapes.signing.signer import sign_credentials
from tests.attacks.forging import forged, minted
from tests.attacks.requests import signer
from tests.attacks.sockets import NOT_AUTHENTICATED, NOT_FOUND, OPENED, show, show_text
from tests.conftest import Served

LOOKS = {"versions", "uses_elsewhere", "contests", "taken_streams", "beat", "close_lost"}
"""What the server asks a few times a second, whatever comes in."""


class Unreadable:
    """A store that gives nothing but what is let through, and notes what it was asked."""

    def __init__(self, store: Any, *let_through: str) -> None:
        self.asked: list[str] = []
        self._store = store
        self._let_through = let_through

    def __getattr__(self, name: str) -> Any:
        if name not in LOOKS:
            self.asked.append(name)
        if name in self._let_through:
            return getattr(self._store, name)
        raise StoreError(f"{name} was asked for")


def test_verification_reads_nothing(served: Served, token: RealtimeSessionToken) -> None:
    """A grant is found by what is known by heart alone, for a token and for credentials."""
    unreadable: Any = Unreadable(served.deployment.store)
    deployment = replace(served.deployment, store=unreadable)
    now = datetime.now(UTC)
    grant = grant_for_token(deployment, token.token, token.compartment_id, now)
    assert grant.session_id == token.session_id
    headers = sign_credentials(served.ws_url, *signer(served), now)
    assert grant_for_credentials(deployment, headers, token.compartment_id, now)
    assert unreadable.asked == []


@pytest.fixture
def unreadable(served: Served) -> Iterator[Unreadable]:
    """The server with a store that lets a stream be claimed, which is a write, and no more."""
    deployment = served.deployment
    kept = deployment.store
    stand_in: Any = Unreadable(kept, "claim_stream", "withdraw_stream")
    deployment.store = stand_in
    yield stand_in
    deployment.store = kept


async def test_socket_reads_nothing(served: Served, unreadable: Unreadable) -> None:
    """From the first message to CONNECT there is one claim; for a bad token there is nothing."""
    single_use = {"stapes": {"single-use": True}}
    good, once = minted(served), minted(served, defined_tags=single_use)
    unreadable.asked.clear()
    for forgery, answer in (
        ("x", NOT_AUTHENTICATED),
        (good.token[:-1], NOT_AUTHENTICATED),
        (forged(served, aud="x"), NOT_AUTHENTICATED),
        (forged(served, exp=1), NOT_AUTHENTICATED),
        (forged(served, sub="x"), NOT_FOUND),
    ):
        assert await show_text(served, forgery) == answer
    assert unreadable.asked == []
    for token in (good, once):
        unreadable.asked.clear()
        assert await show(served, token) == OPENED
        assert unreadable.asked == ["claim_stream"]
