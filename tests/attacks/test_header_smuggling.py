"""Requests that one server reads as one and another as two, and heads without end."""

from __future__ import annotations

import httpx
import pytest

from stapes.server.http_transport import LONGEST_HEAD_BYTES
from tests.attacks.requests import (
    ACCEPTED,
    CANNOT_PARSE,
    NOT_AUTHENTICATED,
    PATH,
    exchange,
    read,
    send,
    sign,
    wanted,
)
from tests.conftest import Served

SECOND = b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", "xchunked"),
        ("transfer-encoding", "chunked, identity"),
        ("Transfer-Encoding ", "chunked"),
        ("transfer-encoding\t", "chunked"),
        (" transfer-encoding", "chunked"),
        ("x", "y\r\n folded"),
        ("x", "y\r\n\ttransfer-encoding: chunked"),
        ("x", "y\rtransfer-encoding: chunked"),
        ("x", "y\0z"),
        ("x y", "z"),
        ("x:y ", "z"),
        ("host ", "elsewhere.example"),
        ("", "x"),
    ],
    ids=repr,
)
def test_header_smuggling(served: Served, field: tuple[str, str]) -> None:
    """A length beside an encoding, folded lines, blanks in a name: 400, and the end of it."""
    body = wanted(served)
    pairs = [*sign(served, body).items(), field]
    reply = send(served, pairs, body + SECOND)
    if field == ("x:y ", "z"):  # a field x, whose value is "y : z"
        assert reply.refusal == ACCEPTED
    else:
        assert reply.refusal == CANNOT_PARSE
        assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    "field",
    [
        ("transfer_encoding", "chunked"),
        ("content_length", "0"),
        ("x_content_sha256", "x"),
        ("host_", "elsewhere.example"),
        ("x-original-url", "/ready"),
        ("x-rewrite-url", "/ready"),
        ("x-forwarded-host", "elsewhere.example"),
        ("x-http-method-override", "GET"),
    ],
)
def test_underscore_variants(served: Served, field: tuple[str, str]) -> None:
    """A name that another server might take for one that counts means nothing here."""
    body = wanted(served)
    reply = send(served, [*sign(served, body).items(), field], body)
    assert reply.refusal == ACCEPTED
    assert reply.body["compartmentId"] == served.home.compartment_id


@pytest.mark.parametrize("name", ["authorization", "date", "host", "x-content-sha256"])
def test_underscore_instead_of_a_hyphen(served: Served, name: str) -> None:
    """Nor does it stand in for one that is missing."""
    body = wanted(served)
    signed = sign(served, body)
    value = signed.pop(name)
    for other in (name.replace("-", "_") + "_", f"x-{name}", f"http-{name}", f"proxy-{name}"):
        assert send(served, {**signed, other: value}, body).refusal == NOT_AUTHENTICATED


def test_chunks_instead_of_a_length(served: Served) -> None:
    """The length is signed, so it has to be there."""
    body = wanted(served)
    signed = sign(served, body)
    signed.pop("content-length")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    headers = {**signed, "transfer-encoding": "chunked"}
    assert send(served, headers, chunked).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\nhost: x\n\n",
        b"get /health HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET /health HTTP/1.1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET health HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=lambda it: repr(it)[:50],
)
def test_request_line(served: Served, sent: bytes) -> None:
    """What is not HTTP/1.1 to the letter is not understood in some way or other."""
    assert read(exchange(served, sent)).refusal == CANNOT_PARSE


@pytest.mark.parametrize(
    "target",
    [
        f"/x/%2e%2e{PATH}",
        f"/x/..{PATH}",
        f"/.{PATH}",
        f"/{PATH}",
        f"{PATH}/",
        f"{PATH}//",
        f"{PATH};x",
        f"{PATH}%00",
        f"{PATH}%20",
        PATH.replace("/actions", "/actions/."),
        PATH.replace("/actions", "//actions"),
        PATH.replace("/actions", "%2Factions%2F"),
        PATH.replace("/actions", "%5Cactions"),
        PATH.upper(),
    ],
)
def test_path_in_other_words(served: Served, target: str) -> None:
    """No path is brought into shape: rightly signed as it is, it is no operation."""
    body = wanted(served)
    reply = send(served, sign(served, body, target=target), body, target=target)
    assert reply.refusal == (404, "NotFound")


@pytest.mark.parametrize(
    "fields",
    [
        [("x", "y" * LONGEST_HEAD_BYTES)],
        [(f"x-{number}", "y") for number in range(4000)],
        [("authorization", "Signature " + "y" * LONGEST_HEAD_BYTES)],
        [("y" * LONGEST_HEAD_BYTES, "x")],
        [("cookie", "a=" + "b" * 1_000_000)],
    ],
    ids=["long", "many", "authorization", "name", "megabyte"],
)
def test_huge_header(served: Served, fields: list[tuple[str, str]]) -> None:
    """32 KiB of head are read and no more; the next request is served."""
    body = wanted(served)
    reply = send(served, [*fields, *sign(served, body).items()], body)
    assert reply.refusal == (431, "RequestHeaderFieldsTooLarge")
    assert send(served, sign(served, body), body).refusal == ACCEPTED


def test_huge_authorization(served: Served) -> None:
    """A parser of signatures reads 8 KiB; it does not run away on what looks like parameters."""
    body = wanted(served)
    for value in ("Signature " + 'a="b",' * 3000, "Signature " + "a" * 20_000, "Signature" * 2000):
        headers = {**sign(served, body), "authorization": value}
        assert send(served, headers, body).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_upgrade_that_is_none(served: Served, method: str) -> None:
    """A websocket is asked for by GET; the answer is one, and the connection ends."""
    host = httpx.URL(served.url).netloc.decode()
    sent = (
        f"{method} /ws/transcribe/stream HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\n"
        "connection: upgrade\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "sec-websocket-version: 13\r\ncontent-length: 0\r\n\r\n"
    )
    received = exchange(served, sent.encode())
    assert received.startswith(b"HTTP/1.1 405 ")
    assert received.count(b"HTTP/1.1 ") == 1
