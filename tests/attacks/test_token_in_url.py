"""A token in a URL, where proxies and histories keep it: never accepted, never logged."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidHandshake

from tests.attacks.people import NO_TLS, minted_by, someone
from tests.attacks.processes import Pair
from tests.attacks.requests import PATH
from tests.attacks.sockets import NOT_AUTHENTICATED, presenting, say
from tests.scenarios.conftest import peer

pytestmark = pytest.mark.parametrize("pair", ["sqlite"], indirect=True)
NAMES = (
    "token",
    "Token",
    "access_token",
    "accessToken",
    "authToken",
    "auth_token",
    "auth",
    "authorization",
    "Authorization",
    "jwt",
    "id_token",
    "sessionToken",
    "session_token",
    "bearer",
    "api_key",
    "apikey",
    "key",
    "ticket",
    "authenticationType=TOKEN&token",
)


async def test_token_in_the_query(pair: Pair) -> None:
    """Under no name does it take the place of the one in the message, nor reach the log."""
    who = someone(pair.home, pair.store)
    token, server = minted_by(pair.first.url, who), pair.first
    place = who.compartment.id
    for name in NAMES:
        query = f"{name}={token.token}&compartmentId={place}"
        for message in ({}, presenting("x", place), presenting("", place)):
            assert await say(server.ws_url, message, query) == NOT_AUTHENTICATED
        async with peer(server.ws_url, query) as client:
            await client.socket.send(b"\0" * 3200)
            assert await client.read_to_close() == NOT_AUTHENTICATED
    _assert_not_logged(pair, token.token)


async def test_token_in_the_path_or_the_authority(pair: Pair) -> None:
    """There is no such path; user and password of a URL are nobody's."""
    who = someone(pair.home, pair.store)
    token, server = minted_by(pair.first.url, who), pair.first
    for url in (f"{server.ws_url}/{token.token}", f"{server.ws_url};token={token.token}"):
        with pytest.raises(InvalidHandshake):
            async with peer(url):
                raise AssertionError("let in")
    url = server.ws_url.replace("://", f"://token:{token.token}@")
    assert await say(url, presenting("x", who.compartment.id)) == NOT_AUTHENTICATED
    _assert_not_logged(pair, token.token, but_for_paths=True)


async def test_token_as_a_subprotocol_or_cookie(pair: Pair) -> None:
    """Nor is it echoed."""
    who = someone(pair.home, pair.store)
    token, server = minted_by(pair.first.url, who), pair.first
    message = presenting("x", who.compartment.id)
    for offered in (["token", token.token], [token.token], [f"bearer.{token.token}", "bearer"]):
        async with peer(server.ws_url, subprotocols=offered) as client:
            assert client.socket.subprotocol is None
            await client.send_json(**message)
            assert (await client.read())["code"] == 401
    headers = {"Cookie": f"token={token.token}", "Authorization": f"Bearer {token.token}"}
    assert await say(server.ws_url, message, additional_headers=headers) == NOT_AUTHENTICATED
    _assert_not_logged(pair, token.token)


def test_secrets_in_the_query_of_a_request(pair: Pair) -> None:
    """REST takes neither a bearer key nor a token from there, and logs no query."""
    who = someone(pair.home, pair.store)
    token = minted_by(pair.first.url, who)
    body = {"compartmentId": who.compartment.id}
    with httpx.Client(trust_env=False, verify=NO_TLS) as client:
        for name in NAMES:
            for secret in (who.secret, token.token, quote(f"Bearer {who.secret}")):
                answer = client.post(f"{pair.first.url}{PATH}?{name}={secret}", json=body)
                assert answer.status_code == 401
    _assert_not_logged(pair, token.token, who.secret)


def _assert_not_logged(pair: Pair, *secrets: str, but_for_paths: bool = False) -> None:
    """Neither whole nor its signature; a path is logged, but a token in one is cut to 200 signs."""
    for server in pair.both:
        text = server.log.read_text("utf-8")
        assert "access_token" not in text
        for secret in secrets:
            signature = secret.rpartition(".")[2]
            assert signature not in text
            assert but_for_paths or secret[:60] not in text
