"""Requests with a bearer key that is not the caller's, or no good any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stapes.identity.key_changes import enable_key, remove_key
from stapes.store.port import Store
from tests.attacks.people import Someone, ask, change, minted_by, someone
from tests.attacks.requests import (
    ACCEPTED,
    NOT_AUTHENTICATED,
    Reply,
    send,
    sign,
    wanted,
)
from tests.attacks.sockets import NOT_AUTHENTICATED as REFUSED
from tests.attacks.sockets import presenting, say
from tests.conftest import Served
from tests.waiting import wait_until


def authorized(served: Served, who: Someone, *values: str) -> Reply:
    """The answer to a request for a token, with such Authorization headers."""
    body = wanted(served, compartmentId=who.compartment.id)
    pairs = [("host", "x"), ("content-length", str(len(body)))]
    return send(served, [*pairs, *(("authorization", value) for value in values)], body)


def test_own_key(served: Served, stranger: Someone) -> None:
    """The name of the scheme has no case (RFC 9110 section 11.1); the key has."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert authorized(served, stranger, f"{scheme} {stranger.secret}").refusal == ACCEPTED


def test_wrong_secret(served: Served, store: Store, stranger: Someone) -> None:
    """Of an id that exists and of one that does not, and the id of somebody else's key."""
    other = someone(served.home, store)
    minted_by(served.url, other)
    secret = stranger.secret.removeprefix(f"stapes_{stranger.key.id}_")
    others = other.secret.removeprefix(f"stapes_{other.key.id}_")
    for text in (
        f"stapes_{stranger.key.id}_{others}",
        f"stapes_{other.key.id}_{secret}",
        f"stapes_{'a' * 16}_{secret}",
        f"stapes_{stranger.key.id}_{secret[:-1]}",
        f"stapes_{stranger.key.id}_{secret}A",
        f"stapes_{stranger.key.id}_{secret.swapcase()}",
        f"stapes_{stranger.key.id}_{stranger.key.sha256}",
        f"stapes_{stranger.key.id}_{stranger.key.sha256[:43]}",
        f"stapes_{stranger.key.id}_",
        f"stapes_{stranger.key.id.upper()}_{secret}",
        stranger.secret.upper(),
        f"{stranger.secret},{stranger.secret}",
        f'"{stranger.secret}"',
        secret,
        stranger.key.id,
        "",
        "x" * 20_000,
        "stapes_' OR '1'='1_x",
    ):
        assert authorized(served, stranger, f"Bearer {text}").refusal == NOT_AUTHENTICATED


@pytest.mark.parametrize("scheme", ["Basic", "Token", "ApiKey", "Bearer:", "Bearer\t", "Bearer="])
def test_another_scheme(served: Served, stranger: Someone, scheme: str) -> None:
    """The key is a bearer key under that name alone."""
    value = f"{scheme} {stranger.secret}"
    assert authorized(served, stranger, value).refusal == NOT_AUTHENTICATED
    assert authorized(served, stranger, stranger.secret).refusal == NOT_AUTHENTICATED
    assert authorized(served, stranger).refusal == NOT_AUTHENTICATED


def test_two_authorizations(served: Served, stranger: Someone) -> None:
    """A good key beside anything else is refused, in whatever order."""
    good = f"Bearer {stranger.secret}"
    body = wanted(served)
    signed = sign(served, body)
    for values in ((good, good), (good, "Bearer x"), ("Bearer x", good)):
        assert authorized(served, stranger, *values).refusal == NOT_AUTHENTICATED
    for pairs in (
        [*signed.items(), ("authorization", good)],
        [("authorization", good), *signed.items()],
    ):
        assert send(served, pairs, body).refusal == NOT_AUTHENTICATED
    together = {**signed, "authorization": f"{good}, {signed['authorization']}"}
    assert send(served, together, body).refusal == NOT_AUTHENTICATED


def test_session_token_as_a_key(served: Served, stranger: Someone) -> None:
    """What opens a socket makes no requests."""
    token = minted_by(served.url, stranger)
    assert authorized(served, stranger, f"Bearer {token.token}").refusal == NOT_AUTHENTICATED


def test_disabled_key(served: Served, store: Store, stranger: Someone) -> None:
    """Another process changes it while the server runs, and back again."""
    tenancy_id = served.home.tenancy_id
    names = (tenancy_id, stranger.user.name, stranger.key.id)
    change(store, enable_key, *names, enabled=False)
    wait_until(lambda: ask(served.url, stranger).status_code == 401)
    change(store, enable_key, *names, enabled=True)
    wait_until(lambda: ask(served.url, stranger).status_code == 200)
    change(store, remove_key, *names)
    wait_until(lambda: ask(served.url, stranger).status_code == 401)


def test_expired_key(served: Served, store: Store) -> None:
    """To the moment: nobody has to look for it."""
    who = someone(served.home, store, expires_in=timedelta(hours=1))
    minted_by(served.url, who)
    moment = datetime.now(UTC) + timedelta(seconds=1)
    store.write([replace(who.key, expires_at=moment)])
    deployment, key_id = served.deployment, who.key.id
    wait_until(lambda: deployment.known.directory.bearer_keys[key_id].expires_at == moment)
    wait_until(lambda: datetime.now(UTC) >= moment)
    assert ask(served.url, who).status_code == 401


def test_key_for_somebody_elses_compartment(
    served: Served, store: Store, stranger: Someone
) -> None:
    """Neither another user's compartment, nor the root, nor one that does not exist."""
    other = someone(served.home, store)
    minted_by(served.url, other)
    home = served.home
    for compartment_id in (other.compartment.id, home.compartment_id, home.tenancy_id, "x"):
        answer = ask(served.url, stranger, compartment_id)
        assert (answer.status_code, answer.json()["code"]) == (404, "NotAuthorizedOrNotFound")


@pytest.mark.usefixtures("stranger")
async def test_key_on_the_socket(served: Served, stranger: Someone) -> None:
    """A key opens no stream, under whatever name it comes: only a token or a signature does."""
    place = stranger.compartment.id
    headers = {**stranger.headers, "uri": served.ws_url, "host": "x", "date": "x"}
    messages = [
        presenting(stranger.secret, place),
        presenting(f"Bearer {stranger.secret}", place),
        {**presenting(stranger.secret, place), "authenticationType": "BEARER"},
        {"authenticationType": "CREDENTIALS", "compartmentId": place, "headers": headers},
    ]
    for message in messages:
        assert await say(served.ws_url, message) == REFUSED
    upgrade = stranger.headers | {"Cookie": f"token={stranger.secret}"}
    empty = {"authenticationType": "TOKEN", "compartmentId": place}
    assert await say(served.ws_url, empty, additional_headers=upgrade) == REFUSED
