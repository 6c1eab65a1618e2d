"""A signed request that was overheard, sent again as something else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stapes.signing.signer import sign_credentials, sign_request
from tests.attacks.requests import ACCEPTED, NOT_AUTHENTICATED, PATH, send, sign, signer, wanted
from tests.attacks.sockets import NOT_AUTHENTICATED as REFUSED
from tests.attacks.sockets import OPENED, Answer, say
from tests.conftest import Served


def test_request_as_it_was_signed(served: Served) -> None:
    """What is changed below is accepted when it is not."""
    body = wanted(served)
    assert send(served, sign(served, body), body).refusal == ACCEPTED


@pytest.mark.parametrize(
    "target",
    [
        f"{PATH}?",
        f"{PATH}?a=1",
        f"{PATH}#a",
        f"{PATH}?a#b",
        PATH.replace("real", "%72eal"),
        PATH.replace("/actions", "/%61ctions"),
        f"http://elsewhere.example{PATH}",
        f"http://127.0.0.1:1{PATH}",
        f"http://user@elsewhere.example{PATH}",
    ],
)
def test_another_target(served: Served, target: str) -> None:
    """The target that was signed is the one that was sent, to the letter."""
    body = wanted(served)
    assert send(served, sign(served, body), body, target=target).refusal == NOT_AUTHENTICATED


def test_another_query(served: Served) -> None:
    """One query's signature is no other's: neither its order nor its spelling may change."""
    body = wanted(served)
    headers = sign(served, body, target=f"{PATH}?a=1&b=%7E")
    assert send(served, headers, body, target=f"{PATH}?a=1&b=%7E").refusal == ACCEPTED
    for query in ("?b=%7E&a=1", "?a=1&b=~", "?a=1&b=%7e", "?a=1&b=%7E&", "?a=2&b=%7E", ""):
        assert send(served, headers, body, target=PATH + query).refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_another_method(served: Served, method: str) -> None:
    """A signature for another method makes no token; an override changes nothing."""
    body = wanted(served)
    headers = sign(served, body, method=method) | {"x-http-method-override": method}
    headers = {**headers, "content-length": str(len(body))}
    assert send(served, headers, body).refusal == NOT_AUTHENTICATED


def test_another_host(served: Served) -> None:
    """A request that was signed for another server is not replayed here by changing its host."""
    body = wanted(served)
    for host in ("speech.aiservice.eu-frankfurt-1.oci.oraclecloud.com", "127.0.0.1", ""):
        headers = {**sign(served, body), "host": host}
        assert send(served, headers, body).refusal == NOT_AUTHENTICATED


def test_fewer_signed_headers(served: Served) -> None:
    """A signature that leaves out the body, the target, the host or the date covers too little."""
    body = wanted(served)
    signed = sign(served, body)
    names = "date (request-target) host content-length content-type x-content-sha256"
    for name in names.split(" "):
        fewer = " ".join(each for each in names.split(" ") if each != name)
        authorization = signed["authorization"].replace(f'"{names}"', f'"{fewer}"')
        assert authorization != signed["authorization"]
        headers = {**signed, "authorization": authorization}
        assert send(served, headers, body).refusal == NOT_AUTHENTICATED
    bodiless = sign(served, b"", method="GET")
    headers = {**bodiless, "content-length": str(len(body)), "content-type": "application/json"}
    assert send(served, headers, body).refusal == NOT_AUTHENTICATED


def test_body_swap(served: Served) -> None:
    """Another body of the same length, a longer one, an empty one, with its digest put right."""
    body = wanted(served, freeformTags={"a": "1"})
    swapped = body.replace(b'"1"', b'"2"')
    signed = sign(served, body)
    assert send(served, signed, swapped).refusal == NOT_AUTHENTICATED
    digest = sign(served, swapped)["x-content-sha256"]
    corrected = {**signed, "x-content-sha256": digest}
    assert send(served, corrected, swapped).refusal == NOT_AUTHENTICATED
    for other in (body + b" ", b"", body[:-1]):
        headers = {**signed, "content-length": str(len(other))}
        assert send(served, headers, other).refusal == NOT_AUTHENTICATED
    without = {name: value for name, value in signed.items() if name != "x-content-sha256"}
    assert send(served, without, body).refusal == NOT_AUTHENTICATED


def test_replayed_retry_token(served: Served) -> None:
    """Heard and sent again within its minutes, a request with a retry token makes no new token."""
    body = wanted(served)
    headers = sign(served, body) | {"opc-retry-token": "replayed"}
    first, second = send(served, headers, body), send(served, headers, body)
    assert first.refusal == ACCEPTED
    assert second.body == first.body


@pytest.mark.usefixtures("_nothing_reached")
async def test_request_replayed_on_the_socket(served: Served) -> None:
    """A signature over another path, method or host opens no stream."""
    compartment_id, body = served.home.compartment_id, wanted(served)
    signed = sign(served, body)
    uris = [f"{served.url}{PATH}", f"{served.ws_url}/x", f"{served.url}/health", "x", ""]
    for headers in [signed, *({**signed, "uri": uri} for uri in [served.ws_url, *uris])]:
        message = {
            "authenticationType": "CREDENTIALS",
            "compartmentId": compartment_id,
            "headers": headers,
        }
        assert await say(served.ws_url, message) == REFUSED


async def test_credentials_of_another_address(served: Served) -> None:
    """The signed target and host are those that the message names."""
    (key_id, key), now = signer(served), datetime.now(UTC)
    good = sign_credentials(served.ws_url, key_id, key, now)
    post = sign_request("POST", "/", "x", {}, b"", key_id, key, now)

    async def answer(headers: dict[str, str]) -> Answer:
        message = {
            "authenticationType": "CREDENTIALS",
            "compartmentId": served.home.compartment_id,
            "headers": headers,
        }
        return await say(served.ws_url, message)

    assert await answer(good) == OPENED
    for changed in (
        {"uri": f"{served.ws_url}?languageCode=en-US"},
        {"uri": served.url},
        {"host": "elsewhere.example"},
        {"Host": good["host"]},
        {"AUTHORIZATION": good["authorization"]},
        {"date": "Sun, 22 Nov 2020 11:58:41 GMT"},
    ):
        assert await answer(good | changed) == REFUSED
    assert await answer(post | {"uri": f"{served.url}/"}) == REFUSED
