"""Bounds on what a peer may send over HTTP, by raw sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.sync.client import connect

from stapes.server import http_transport
from stapes.server.http_transport import LONGEST_HEAD_BYTES

if TYPE_CHECKING:
    from tests.conftest import Served

TIMEOUT_S = 60


@pytest.fixture
def peer(served: Served) -> Iterator[socket.socket]:
    with closing(connection(served)) as peer:
        yield peer


def connection(served: Served) -> socket.socket:
    url = httpx.URL(served.url)
    return socket.create_connection((url.host, url.port or 80), timeout=TIMEOUT_S)


def read_to_end(peer: socket.socket) -> bytes:
    """All that comes until the server closes; a reset counts as closing."""
    received = b""
    try:
        while piece := peer.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def answered(received: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, header fields and JSON body of an answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    named = dict(field.split(": ", 1) for field in fields)
    return int(line.split(" ")[1]), named, json.loads(body)


def assert_refused(received: bytes, status: int, code: str) -> None:
    got, fields, body = answered(received)
    assert (got, body["code"]) == (status, code)
    assert fields["opc-request-id"]
    assert fields["date"]
    assert fields["connection"] == "close"


HEAD = b"GET /health HTTP/1.1\r\nhost: x\r\n"
TOO_LONG = {
    "one field": b"x: " + b"y" * LONGEST_HEAD_BYTES + b"\r\n\r\n",
    "many fields": b"".join(b"x%d: y\r\n" % n for n in range(3700)) + b"\r\n",
    "a field that never ends": b"x: " + b"y" * (LONGEST_HEAD_BYTES + 1),
    "fields that never end": b"xxxxxxxx: yyyyyyyy\r\n" * 1650,
}


@pytest.mark.parametrize("rest", TOO_LONG.values(), ids=TOO_LONG)
def test_head_over_the_limit_is_431_and_closes(peer: socket.socket, rest: bytes) -> None:
    """Also a head that never ends is not kept in memory."""
    peer.sendall(HEAD + rest)

    assert_refused(read_to_end(peer), 431, "RequestHeaderFieldsTooLarge")


def test_long_target_is_431(peer: socket.socket) -> None:
    """The request target counts as part of the head."""
    peer.sendall(b"GET /" + b"a" * LONGEST_HEAD_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n")

    assert_refused(read_to_end(peer), 431, "RequestHeaderFieldsTooLarge")


def test_head_within_the_limit_is_served_again_and_again(peer: socket.socket) -> None:
    """The limit is one request's, not one connection's."""
    padded = HEAD + b"x: " + b"y" * (LONGEST_HEAD_BYTES - 200) + b"\r\n\r\n"

    for _ in range(3):
        peer.sendall(padded)
        assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"\x00" * 64])
def test_what_is_no_http_is_400(peer: socket.socket, noise: bytes) -> None:
    """A TLS hello, say, gets a JSON answer and a closed connection."""
    peer.sendall(noise)

    assert_refused(read_to_end(peer), 400, "CannotParseRequest")


def test_two_lengths_are_400(peer: socket.socket) -> None:
    """A request whose end is in doubt is not guessed at (RFC 9112 section 6.3)."""
    peer.sendall(HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")

    assert_refused(read_to_end(peer), 400, "CannotParseRequest")


STALLS = {
    "nothing": b"",
    "half a head": b"GET /health HT",
    "half a body": b"POST /20220101/actions/realtimeSessionToken HTTP/1.1\r\nhost: x\r\n"
    b"content-length: 10\r\n\r\n{",
}


@pytest.mark.parametrize("begun", STALLS.values(), ids=STALLS)
def test_request_that_does_not_arrive_ends_its_connection(
    start_server: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """A peer that stalls holds nothing; the others are served meanwhile."""
    monkeypatch.setattr(http_transport, "LONGEST_REQUEST_S", 1)
    server = start_server()

    with closing(connection(server)) as peer:
        peer.sendall(begun)
        assert httpx.get(f"{server.url}/health", trust_env=False).is_success
        assert read_to_end(peer) == b""


def test_open_websocket_is_no_request_that_stalls(
    start_server: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for a request ends with the upgrade."""
    monkeypatch.setattr(http_transport, "LONGEST_REQUEST_S", 1)
    server = start_server(authentication_timeout_s=2)

    with connect(server.ws_url, proxy=None) as websocket:
        assert json.loads(websocket.recv(TIMEOUT_S))["code"] == 401
