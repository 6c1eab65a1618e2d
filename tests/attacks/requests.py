"""Attacks on REST: requests written by hand, byte for byte."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from stapes.client.profile import load_private_key, read_profile
from stapes.signing.authorization import KeyId
from stapes.signing.signer import sign_request
from tests.conftest import Served

PATH = "/20220101/actions/realtimeSessionToken"
TIMEOUT_S = 60
SENTENCE = "The required information to complete authentication was missing or not correct."


class Listening(Protocol):
    """A server, in this process or in another."""

    @property
    def url(self) -> str:
        """Its base URL."""
        ...


@dataclass(frozen=True)
class Reply:
    """One answer, the only one on its connection. ``code`` is empty for a success."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """OCI's code word."""
        return str(self.body.get("code", ""))

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code word."""
        return self.status, self.code


NOT_AUTHENTICATED = (401, "NotAuthenticated")
CANNOT_PARSE = (400, "CannotParseRequest")
ACCEPTED = (200, "")


def wanted(server: Served, **fields: Any) -> bytes:
    """A body that asks for a token in the compartment of the home."""
    return json.dumps({"compartmentId": server.home.compartment_id, **fields}).encode()


def sign(
    server: Served, body: bytes, method: str = "POST", target: str = PATH, **options: Any
) -> dict[str, str]:
    """The headers of a request that the administrator signs."""
    key_id, key = signer(server)
    host = httpx.URL(server.url).netloc.decode()
    now = options.get("now", datetime.now(UTC))
    return sign_request(method, target, host, {}, body, key_id, key, now)


def signer(server: Served) -> tuple[KeyId, RSAPrivateKey]:
    """The administrator's key and its name."""
    return _signer(server.home.config_file)


@cache
def _signer(config_file: Path) -> tuple[KeyId, RSAPrivateKey]:
    # Loading checks the key, which takes longer than a hundred requests.
    profile = read_profile(config_file)
    return profile.key_id, load_private_key(profile)


def send(
    server: Listening,
    headers: Iterable[tuple[str, str]] | Mapping[str, str],
    body: bytes = b"",
    method: str = "POST",
    target: str = PATH,
) -> Reply:
    """Send a request as it is written, each header on a line of its own."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    fields = [f"{name}: {value}" for name, value in pairs]
    lines = [f"{method} {target} HTTP/1.1", *fields, "connection: close", "", ""]
    return read(exchange(server, "\r\n".join(lines).encode("utf-8") + body))


def exchange(server: Listening, sent: bytes) -> bytes:
    """All that comes back until the server closes; a reset counts as closing."""
    url = httpx.URL(server.url)
    received = b""
    with socket.create_connection((url.host, url.port or 80), timeout=TIMEOUT_S) as connection:
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def read(received: bytes) -> Reply:
    """Take the one answer apart."""
    assert received.count(b"HTTP/1.1 ") == 1, received
    head, _, body = received.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    reply = Reply(int(line.split(" ")[1]), headers, json.loads(body))
    if reply.status == 401:
        assert reply.body == {"code": "NotAuthenticated", "message": SENTENCE}
    return reply
