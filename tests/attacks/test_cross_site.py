"""A page of another site that opens a socket with a token it got hold of."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from stapes import RealtimeSessionToken
from tests.attacks.forging import minted
from tests.attacks.requests import exchange
from tests.attacks.sockets import NOT_AUTHENTICATED, OPENED, Answer, show, untouched
from tests.conftest import Served

ORIGIN = "https://app.example"
OTHERS = [
    "https://other.example",
    "http://app.example",
    "https://app.example:443",
    "https://app.example:8443",
    "https://app.example.evil.example",
    "https://app.example.",
    "https://app.exampl",
    "https://evil-app.example",
    "https://sub.app.example",
    "https://evil.example/https://app.example",
    "https://evil.example#https://app.example",
    "https://evil.example?https://app.example",
    "https://user@app.example",
    "https://app.example@evil.example",
    "https://app.example/",
    "https://app.example https://evil.example",
    "https://evil.example, https://app.example",
    "https:app.example",
    "//app.example",
    "app.example",
    "null",
    "file://",
    "*",
    "%68ttps://app.example",
    "https://\u0430pp.example".encode("utf-8").decode("latin-1"),
]


@pytest.fixture(scope="module")
def bound(served: Served) -> RealtimeSessionToken:
    """A token for one origin."""
    return minted(served, defined_tags={"stapes": {"origin": ORIGIN}})


@pytest.fixture
def _untouched(served: Served) -> Iterator[None]:
    with untouched(served):
        yield


@pytest.mark.usefixtures("_untouched")
@pytest.mark.parametrize("origin", OTHERS)
async def test_another_origin(served: Served, bound: RealtimeSessionToken, origin: str) -> None:
    """Another scheme, port, host or user, and every trick of a prefix or suffix."""
    headers = {"Origin": origin}
    assert await show(served, bound, additional_headers=headers) == NOT_AUTHENTICATED


@pytest.mark.usefixtures("_untouched")
async def test_no_origin(served: Served, bound: RealtimeSessionToken) -> None:
    """A peer that is no browser says nothing; a header of another name says nothing either."""
    assert await show(served, bound) == NOT_AUTHENTICATED
    for name in ("Referer", "X-Origin", "Sec-WebSocket-Origin", "X-Forwarded-Host"):
        headers = {name: ORIGIN}
        assert await show(served, bound, additional_headers=headers) == NOT_AUTHENTICATED
    assert await show(served, bound, f"origin={ORIGIN}") == NOT_AUTHENTICATED


@pytest.mark.usefixtures("_untouched")
@pytest.mark.parametrize("second", [ORIGIN, "https://evil.example"])
def test_two_origins(served: Served, second: str) -> None:
    """The upgrade is refused before anything is said."""
    host = httpx.URL(served.url).netloc.decode()
    sent = (
        f"GET /ws/transcribe/stream HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\n"
        "connection: upgrade\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"sec-websocket-version: 13\r\norigin: {ORIGIN}\r\norigin: {second}\r\n\r\n"
    )
    assert exchange(served, sent.encode()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("origin", [ORIGIN, "https://App.Example", "HTTPS://APP.EXAMPLE"])
async def test_its_own_origin(served: Served, bound: RealtimeSessionToken, origin: str) -> None:
    """Scheme and host have no case."""
    answer: Answer = await show(served, bound, additional_headers={"Origin": origin})
    assert answer == OPENED
