"""A server's beginning and its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from stapes.client.profile import load_private_key, read_profile
from stapes.errors import EngineError, HomeError, StapesError
from stapes.server.running import base_url, listening_socket, serve
from stapes.settings import Settings
from stapes.signing.signer import sign_credentials

if TYPE_CHECKING:
    from tests.conftest import Served

TIMEOUT_S = 60


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("localhost", "http://localhost:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
    ],
)
def test_url_reaches_the_address(host: str, url: str) -> None:
    """A wildcard is no address to connect to."""
    assert base_url(host, 80) == url


def test_port_0_takes_a_free_port_and_the_url_names_it(served: Served) -> None:
    """The real one, not 0."""
    assert httpx.URL(served.url).port not in {None, 0}
    assert httpx.get(f"{served.url}/health", trust_env=False).is_success


def test_port_in_use_is_told(served: Served) -> None:
    """Before anything is loaded: there is not even a home."""
    port = httpx.URL(served.url).port

    with pytest.raises(StapesError, match=f"{port}: Address already in use"):
        serve(Settings(home=Path("/nonexistent"), port=port))


@pytest.mark.parametrize("host", ["no such host", "192.0.2.1"])
def test_address_of_another_machine_is_told(host: str) -> None:
    """A name that does not resolve, or an address that is not ours (RFC 5737)."""
    refused = pytest.raises(StapesError, match=f"cannot listen on {host}:0: ")
    with refused, listening_socket(host, 0):
        pytest.fail("it listens")


def test_home_that_is_missing_is_told_and_the_port_is_free_again(tmp_path: Path) -> None:
    """Nothing stays behind a start that failed."""
    with listening_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(HomeError, match="stapes init"):
        serve(Settings(home=tmp_path, port=port))

    with listening_socket("127.0.0.1", port):
        pass


def test_engine_that_does_not_load_is_told(start_server: Callable[..., Served]) -> None:
    """The server does not begin without one."""
    with pytest.raises(EngineError):
        start_server(engine="unheard-of")


def test_stopped_server_takes_no_connections(start_server: Callable[..., Served]) -> None:
    """Its port is free again."""
    server = start_server()
    server.stop()

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/health", trust_env=False)


def test_live_session_is_told_and_closed_before_the_server_ends(
    start_server: Callable[..., Served],
) -> None:
    """The peer reads why, and the close says that the server goes away."""
    server = start_server()
    profile = read_profile(server.home.config_file)
    headers = sign_credentials(
        server.ws_url, profile.key_id, load_private_key(profile), datetime.now(UTC)
    )
    message = {
        "authenticationType": "CREDENTIALS",
        "compartmentId": server.home.compartment_id,
        "headers": headers,
    }

    with connect(server.ws_url, proxy=None) as websocket:
        websocket.send(json.dumps(message))
        assert json.loads(websocket.recv(TIMEOUT_S))["event"] == "CONNECT"
        server.running.stop()
        error = json.loads(websocket.recv(TIMEOUT_S))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(TIMEOUT_S)
    server.stop()

    assert (error["event"], error["code"]) == ("ERROR", 503)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert server.deployment.draining
