"""What a peer that breaks the rules of the socket is answered, by raw sockets."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import Served

TIMEOUT_S = 60
MASK = b"\0\0\0\0"


@pytest.fixture
def peer(served: Served) -> Iterator[socket.socket]:
    url = httpx.URL(served.url)
    with closing(socket.create_connection((url.host, url.port or 80), TIMEOUT_S)) as peer:
        yield peer


def ask(peer: socket.socket, query: str = "", *fields: str) -> None:
    lines = [
        f"GET /ws/transcribe/stream?{query} HTTP/1.1",
        *("Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", *fields, "", ""),
    ]
    peer.sendall("\r\n".join(lines).encode())


def read_to_end(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(65536), b""))


def test_a_request_line_too_long_for_a_socket_is_answered_and_let_go(peer: socket.socket) -> None:
    """414, and the connection ends: it is not held for a peer that waits."""
    ask(peer, "x" * 9000)
    assert read_to_end(peer).startswith(b"HTTP/1.1 414 ")


def test_a_field_too_long_for_a_socket_is_answered_and_let_go(peer: socket.socket) -> None:
    """431, and the connection ends."""
    ask(peer, "", "X-Long: " + "x" * 9000)
    assert read_to_end(peer).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "frames",
    [
        b"\x81\x82" + MASK + b"\xff\xfe",
        b"\x01\x82" + MASK + b'{"' + b"\x80\x81" + MASK + b"\xc3",
    ],
    ids=["one frame", "fragments"],
)
def test_text_that_is_no_utf_8_ends_the_connection_and_fails_nothing(
    peer: socket.socket, caplog: pytest.LogCaptureFixture, frames: bytes
) -> None:
    """Close 1007 (RFC 6455 section 8.1), and no failure of the server's in the log."""
    ask(peer)
    assert peer.recv(65536).startswith(b"HTTP/1.1 101 ")
    with caplog.at_level(logging.WARNING):
        peer.sendall(frames)
        assert read_to_end(peer) == b"\x88\x02\x03\xef"
    assert caplog.records == []


def test_text_cut_inside_a_character_is_whole_again(peer: socket.socket) -> None:
    """Fragments may end anywhere: the message is UTF-8, and answered as a message."""
    ask(peer)
    assert peer.recv(65536).startswith(b"HTTP/1.1 101 ")
    peer.sendall(b"\x01\x81" + MASK + b"\xc3" + b"\x80\x81" + MASK + b"\xa9")
    assert b'"code":401' in peer.recv(65536)
