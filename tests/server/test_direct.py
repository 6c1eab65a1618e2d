"""Requests for a token that are answered without ASGI, by raw sockets: order, bounds, likeness."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs

from stapes.client.profile import load_private_key, read_profile
from stapes.server.app import create_app
from stapes.server.direct import Direct
from stapes.server.http_transport import HttpTransport
from stapes.server.token_endpoint import PATH
from stapes.signing.signer import sign_request

if TYPE_CHECKING:
    from tests.conftest import Served

TIMEOUT_S = 60
HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
KEYS = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """One answer on a connection."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Peer:
    """A connection whose answers are read one after the other."""

    def __init__(self, server: Served) -> None:
        url = httpx.URL(server.url)
        self._socket = socket.create_connection((url.host, url.port or 80), timeout=TIMEOUT_S)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> Answer:
        status = int(self._file.readline().split(b" ")[1])
        fields: dict[str, str] = {}
        while line := self._file.readline().strip().decode():
            name, value = line.split(": ", 1)
            assert name not in fields
            fields[name] = value
        return Answer(status, fields, self._file.read(int(fields.get("content-length", "0"))))

    def is_closed(self) -> bool:
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def peer(served: Served) -> Iterator[Peer]:
    with closing(Peer(served)) as peer:
        yield peer


def signed(server: Served, name: str = "", **fields: str) -> dict[str, str]:
    """The headers of a request for a token with `body`, and ``fields`` beside them."""
    profile = read_profile(server.home.config_file)
    key = load_private_key(profile)
    made = sign_request(
        "POST", PATH, "x", {}, body(server, name), profile.key_id, key, datetime.now(UTC)
    )
    return made | fields


def body(server: Served, name: str = "") -> bytes:
    tags = {"name": name} if name else {}
    asked = {"compartmentId": server.home.compartment_id, "freeformTags": tags}
    return json.dumps(asked).encode()


def head(headers: dict[str, str], target: str = PATH, version: str = "1.1") -> bytes:
    lines = [f"POST {target} HTTP/{version}", *(f"{name}: {it}" for name, it in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def request(server: Served, name: str = "", **fields: str) -> bytes:
    return head(signed(server, name, **fields)) + body(server, name)


def test_answers_come_in_the_order_of_the_requests(served: Served, peer: Peer) -> None:
    """Whichever way each of them is answered, and however many are sent at once."""
    many = [request(served, "1"), HEALTH, request(served, "2"), request(served, "3"), KEYS]
    peer.send(b"".join([*many, request(served, "4"), HEALTH]))

    answers = [peer.answer() for _ in range(7)]

    assert {answer.status for answer in answers} == {200}
    names = [answer.json.get("freeformTags", {}).get("name") for answer in answers]
    assert names == ["1", None, "2", "3", None, "4", None]
    assert answers[1].json == answers[6].json == {"status": "alive"}
    assert "keys" in answers[4].json


def test_answer_does_not_overtake_one_that_takes_longer(served: Served, peer: Peer) -> None:
    """The application is still waiting for the database when the second request is there."""
    peer.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
    peer.send(request(served))

    assert peer.answer().json["status"] == "ready"
    assert "token" in peer.answer().json


def test_request_that_comes_in_pieces_is_answered(served: Served, peer: Peer) -> None:
    """And so are those behind it on the connection."""
    whole = request(served, "first")
    for begin in range(0, len(whole), 7):
        peer.send(whole[begin : begin + 7])
    assert peer.answer().json["freeformTags"] == {"name": "first"}

    peer.send(request(served, "second") + HEALTH[:10])
    assert peer.answer().json["freeformTags"] == {"name": "second"}
    peer.send(HEALTH[10:])
    assert peer.answer().json == {"status": "alive"}


def test_chunked_body_is_read(served: Served, peer: Peer) -> None:
    """Its length is not known before; the signature covers one that is not sent."""
    headers = signed(served) | {"transfer-encoding": "chunked"}
    del headers["content-length"]
    sent = body(served)
    peer.send(head(headers) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent))

    assert peer.answer().status == 401
    peer.send(request(served))
    assert peer.answer().status == 200


def test_peer_that_waits_for_a_100_gets_it(served: Served, peer: Peer) -> None:
    """RFC 9110 section 10.1.1."""
    peer.send(head(signed(served, expect="100-continue")))
    assert peer.answer() == Answer(100, {}, b"")

    peer.send(body(served))
    assert peer.answer().status == 200


@pytest.mark.parametrize(("version", "field"), [("1.1", "close"), ("1.0", "keep-alive")])
def test_connection_is_closed_when_the_peer_wants_that(
    served: Served, peer: Peer, version: str, field: str
) -> None:
    """Or when it speaks HTTP/1.0. What is sent behind the request is not answered."""
    headers = signed(served, connection=field)
    peer.send(head(headers, version=version) + body(served) + request(served))

    answer = peer.answer()

    assert (answer.status, answer.fields["connection"]) == (200, "close")
    assert peer.is_closed()


def test_connection_on_which_nothing_more_comes_is_closed(
    start_server: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts from the last answer, whichever way it was given."""
    made = HttpTransport.connection_made

    def connection_made(self: HttpTransport, transport: asyncio.Transport) -> None:
        self.timeout_keep_alive = 0.2  # type: ignore[assignment]
        made(self, transport)

    monkeypatch.setattr(HttpTransport, "connection_made", connection_made)
    server = start_server()
    for asked in ([request(server)], [request(server), HEALTH, request(server)]):
        with closing(Peer(server)) as peer:
            peer.send(b"".join(asked))
            assert [peer.answer().status for _ in asked] == [200] * len(asked)
            assert peer.is_closed()


def test_request_that_has_begun_is_answered_when_the_server_stops(
    start_server: Callable[..., Served],
) -> None:
    """And its connection closed after that."""
    server = start_server()
    whole = request(server)
    with closing(Peer(server)) as peer:
        peer.send(HEALTH)
        assert peer.answer().status == 200
        peer.send(whole[:-5])
        # An answer on another connection: by now the beginning has arrived, too.
        assert httpx.get(f"{server.url}/ready", trust_env=False).is_success
        server.running.stop()
        assert not wait_until_refused(server)
        peer.send(whole[-5:])

        answer = peer.answer()

        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert peer.is_closed()


def wait_until_refused(server: Served) -> bool:
    """Ask for connections until there are no more."""
    for _ in range(10_000):
        try:
            httpx.get(f"{server.url}/health", trust_env=False)
        except httpx.TransportError:
            return False
    return True


def test_peer_that_reads_nothing_is_waited_for(served: Served, peer: Peer) -> None:
    """Answers do not pile up: requests are left unread until the peer reads, and then answered."""
    small = signed(served) | {"opc-request-id": "x" * 128}
    one = head(small) + body(served)
    peer.send(one * 200)

    assert [peer.answer().status for _ in range(200)] == [200] * 200


@pytest.mark.parametrize(
    "spoil",
    [
        {},
        {"opc-request-id": "mine"},
        {"date": "Sun, 22 Nov 2020 11:58:41 GMT"},
        {"authorization": "Bearer x"},
        {"authorization": ""},
        {"opc-retry-token": "x" * 65},
        {"x-content-sha256": "\xe9"},
    ],
    ids=str,
)
async def test_both_ways_answer_and_log_alike(served: Served, spoil: dict[str, str]) -> None:
    """Directly and through the ASGI application: status, names of headers, body and log line."""
    headers = signed(served, **spoil)
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    sent = body(served)

    with capture_logs() as lines:
        direct = Direct(served.deployment).answer(PATH.encode(), pairs, sent, "127.0.0.1")
        transport = httpx.ASGITransport(create_app(served.deployment))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            asgi = await client.post(PATH, content=sent, headers=pairs)

    assert direct.status == asgi.status_code
    assert [name.decode() for name, _ in direct.headers] == list(asgi.headers)
    first, second = json.loads(direct.body), asgi.json()
    if direct.status == 200:
        for answer in (first, second):
            del answer["token"], answer["sessionId"]
    assert first == second
    mine, its = (
        {name: value for name, value in line.items() if name not in {"id", "ms"}}
        for line in lines
        if line["event"] == "request"
    )
    assert mine == its


@pytest.mark.parametrize(
    ("method", "target", "length", "takes"),
    [
        (b"POST", PATH, b"65536", True),
        (b"POST", PATH + "?a=b", b"10", True),
        (b"POST", PATH, b"65537", False),
        (b"POST", PATH, None, False),
        (b"POST", PATH + "/", b"10", False),
        (b"POST", PATH + "#a", b"10", False),
        (b"POST", "http://x" + PATH, b"10", False),
        (b"POST", PATH.replace("a", "%61"), b"10", False),
        (b"GET", PATH, b"10", False),
        (b"HEAD", PATH, b"10", False),
    ],
)
def test_only_what_is_plainly_the_operation_is_taken(
    served: Served, method: bytes, target: str, length: bytes | None, takes: bool
) -> None:
    """Everything else is for the application to understand or to refuse."""
    headers = [] if length is None else [(b"content-length", length)]

    assert Direct(served.deployment).takes(method, target.encode(), headers) is takes


@pytest.mark.parametrize(
    ("peer_address", "forwarded", "blamed"),
    [
        ("10.0.0.1", b"192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", b"192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("192.0.2.8", b"192.0.2.7", "192.0.2.8"),
    ],
)
def test_failure_is_of_the_address_that_a_trusted_proxy_names(
    start_server: Callable[..., Served], peer_address: str, forwarded: bytes | None, blamed: str
) -> None:
    """Only one that is trusted is believed."""
    server = start_server(trusted_proxies="10.0.0.0/8", failed_authentications_per_minute=1)
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded)]
    direct = Direct(server.deployment)

    assert direct.answer(PATH.encode(), headers, b"", peer_address).status == 401

    elsewhere = [(b"x-forwarded-for", b"198.51.100.1")]
    assert direct.answer(PATH.encode(), elsewhere, b"", "10.0.0.1").status == 401
    assert direct.answer(PATH.encode(), [], b"", blamed).status == 429
