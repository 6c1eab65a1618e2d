"""Alive, ready, and the public keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from stapes.errors import StoreError
from stapes.tokens.keys import parse_jwk

if TYPE_CHECKING:
    from tests.conftest import Served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        yield client


def test_health_says_alive(client: httpx.Client) -> None:
    """Without a signature."""
    answer = client.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["opc-request-id"]
    assert answer.headers["date"]


def test_ready_names_the_models_and_the_streams(client: httpx.Client, served: Served) -> None:
    """Which model hears what; nothing live, and how many may be."""
    answer = client.get("/ready")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "models": [
            {
                "model": "scripted",
                "engine": "scripted",
                "modelType": "ORACLE",
                "modelDomains": ["GENERIC", "MEDICAL"],
                "languageCodes": ["en-US"],
            }
        ],
        "punctuation": [],
        "streams": {"live": 0, "limit": served.deployment.pool.limit},
    }


def _fail() -> None:
    raise StoreError("disk full")


REASONS: dict[str, tuple[str, object, str]] = {
    "engine": ("pool.problem", "the engine cannot be loaded: no model", "no model"),
    "writer": ("writer.problem", "the disk is full", "disk is full"),
    "store": ("store.check_writable", _fail, "disk full"),
    "draining": ("draining", True, "stopping"),
}


@pytest.mark.parametrize("named", REASONS)
def test_not_ready_is_503_with_the_reason(
    client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """And alive all the same."""
    name, value, reason = REASONS[named]
    *path, attribute = name.split(".")
    owner = getattr(served.deployment, path[0]) if path else served.deployment
    monkeypatch.setattr(type(owner) if path == ["pool"] else owner, attribute, value)

    answer = client.get("/ready")

    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert [reason in said for said in answer.json()["reasons"]] == [True]
    assert client.get("/health").is_success


def test_jwks_holds_the_public_keys_of_the_tokens(client: httpx.Client, served: Served) -> None:
    """And nothing private."""
    (key,) = client.get("/.well-known/jwks.json").json()["keys"]

    assert "d" not in key
    assert {key["kid"]} == set(served.home.signing_keys())
    assert parse_jwk(key) == served.deployment.known.keyring.public[key["kid"]]


def test_openapi_describes_the_token_endpoint(client: httpx.Client) -> None:
    """With both bodies and every declared status."""
    operation = client.get("/openapi.json").json()["paths"][
        "/20220101/actions/realtimeSessionToken"
    ]["post"]

    assert operation["operationId"] == "CreateRealtimeSessionToken"
    assert set(operation["responses"]) == {
        *("200", "400", "401", "404", "409", "413", "429", "431", "500", "503")
    }
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["compartmentId"]


def test_database_that_cannot_be_written_is_a_reason(start_server: Callable[..., Served]) -> None:
    """A real database, taken away."""
    server = start_server()
    server.deployment.store.close()
    database = server.home.path / "stapes.db"
    database.unlink()
    database.mkdir()

    answer = httpx.get(f"{server.url}/ready", trust_env=False)

    assert answer.status_code == 503
