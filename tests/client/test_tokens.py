"""Tokens minted at a server's endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stapes.client.profile import Profile, read_profile
from stapes.client.tokens import mint_token
from stapes.errors import ClientError, ServerRefusedError, ServerUnreachableError
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails
from tests.conftest import Served

DETAILS = CreateRealtimeSessionTokenDetails(compartment_id="c")


@contextmanager
def _answering(status: int, body: bytes) -> Iterator[str]:
    """A server that answers everything with ``body``."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_token_is_minted_by_a_real_server(served: Served) -> None:
    """Signed with the key of the home; tags come back as they went."""
    profile = read_profile(served.home.config_file)
    details = CreateRealtimeSessionTokenDetails(
        compartment_id=profile.compartment,
        freeform_tags={"room": "4"},
        defined_tags={"stapes": {"single-use": True, "ttl-seconds": 60}},
    )
    token = mint_token(served.url, profile, details)
    assert token.token.count(".") == 2
    assert token.session_id.startswith("ocid1.aispeechrealtimesession.oc1..")
    assert token.compartment_id == served.home.compartment_id
    assert token.freeform_tags == {"room": "4"}
    assert token.defined_tags == {"stapes": {"single-use": True, "ttl-seconds": 60}}


def test_foreign_key_is_refused_with_the_way_out(served: Served, profile: Profile) -> None:
    """The server's own code and message, and a question that helps."""
    with pytest.raises(ServerRefusedError, match=r"401 NotAuthenticated: .*is the profile") as got:
        mint_token(served.url, profile, DETAILS)
    assert (got.value.status, got.value.code) == (401, "NotAuthenticated")


def test_unknown_compartment_is_refused(served: Served) -> None:
    """404, as for everything that does not exist or is not allowed."""
    profile = read_profile(served.home.config_file)
    with pytest.raises(ServerRefusedError, match="404 NotAuthorizedOrNotFound") as got:
        mint_token(served.url, profile, DETAILS)
    assert got.value.status == 404


def test_nobody_there_is_told_with_the_url(profile: Profile) -> None:
    """Port 1 of loopback has no server."""
    with pytest.raises(ServerUnreachableError, match=r"no server answers at http://127\.0\.0\.1:1"):
        mint_token("http://127.0.0.1:1", profile, DETAILS)


def test_proxies_of_the_environment_are_not_asked_for_loopback(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy cannot reach this machine's loopback."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    profile = read_profile(served.home.config_file)
    details = CreateRealtimeSessionTokenDetails(compartment_id=profile.compartment)
    assert mint_token(served.url, profile, details).token


def test_another_server_s_answers_are_told_apart(profile: Profile) -> None:
    """An error page, a JSON that is no error of ours, and a success without a token."""
    for status, body in [(502, b"<html>"), (500, b"[]"), (500, b'{"code": 1}')]:
        with (
            _answering(status, body) as url,
            pytest.raises(ServerRefusedError, match=f"{status} .*is it a Stapes server") as got,
        ):
            mint_token(url, profile, DETAILS)
        assert (got.value.status, got.value.code) == (status, "")
    with _answering(200, b'{"token": 1}') as url, pytest.raises(ClientError, match="no session t"):
        mint_token(url, profile, DETAILS)


def test_error_of_the_server_keeps_its_code(profile: Profile) -> None:
    """Codes without a way out have none added."""
    body = json.dumps({"code": "TooManyRequests", "message": "Slow down."}).encode()
    with _answering(429, body) as url, pytest.raises(ServerRefusedError) as got:
        mint_token(url, profile, DETAILS)
    assert str(got.value).endswith("429 TooManyRequests: Slow down.")
    assert got.value.code == "TooManyRequests"


def test_unusable_key_is_the_profile_s_fault(profile: Profile) -> None:
    """Nothing is sent."""
    with pytest.raises(ClientError, match="cannot read the key file /nowhere"):
        mint_token("http://127.0.0.1:1", replace(profile, key_file=Path("/nowhere")), DETAILS)
