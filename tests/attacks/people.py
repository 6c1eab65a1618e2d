"""Users that tests add to a home while its servers run, and what is changed of them."""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from stapes import RealtimeSessionToken
from stapes.cli.iam.register import new_ocid, to_records
from stapes.identity.bearer import ENTROPY_BYTES, make_bearer_key
from stapes.identity.change import Change
from stapes.identity.model import (
    BearerKey,
    Binding,
    Compartment,
    Group,
    Policy,
    User,
    Verb,
)
from stapes.server.home import Home
from stapes.store.port import Store
from tests.attacks.requests import PATH
from tests.waiting import PATIENCE_S, wait_until

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once: reading all the authorities of this machine takes longer than a request."""


@dataclass(frozen=True)
class Someone:
    """A user with a group, a compartment and a policy of their own, and a bearer key."""

    user: User
    group: Group
    compartment: Compartment
    policy: Policy
    key: BearerKey
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        """What authenticates a request."""
        return {"authorization": f"Bearer {self.secret}"}


def someone(home: Home, store: Store, expires_in: timedelta | None = None) -> Someone:
    """Add a user who may use a compartment."""
    mark, tenancy_id = secrets.token_hex(6), home.tenancy_id
    user = User(new_ocid("user"), f"user-{mark}", tenancy_id)
    place = Compartment(new_ocid("compartment"), f"place-{mark}", tenancy_id, tenancy_id)
    group = Group(new_ocid("group"), f"group-{mark}", tenancy_id, frozenset({user.id}))
    words = f"Allow group {group.name} to use ai-service-speech-family in compartment {place.name}"
    binding = Binding(group.id, Verb.USE, place.id)
    policy = Policy(new_ocid("policy"), f"policy-{mark}", tenancy_id, (words,), (binding,))
    expires_at = datetime.now(UTC) + expires_in if expires_in else None
    key, secret = make_bearer_key(user.id, os.urandom(ENTROPY_BYTES), expires_at)
    store.write([user, place, group, policy, key])
    return Someone(user, group, place, policy, key, secret)


def change(store: Store, make: Callable[..., Change], *arguments: Any, **options: Any) -> Change:
    """Write a change of identities as the command line does: another process, for a server."""
    made = make(store.directory(), *arguments, **options)
    store.write(to_records(made, "local:test", datetime.now(UTC)))
    return made


def ask(
    url: str,
    who: Someone,
    compartment_id: str | None = None,
    retry_token: str | None = None,
    **tags: Any,
) -> httpx.Response:
    """Ask for a token with the bearer key."""
    body = {"compartmentId": compartment_id or who.compartment.id, **tags}
    headers = who.headers | ({"opc-retry-token": retry_token} if retry_token else {})
    with httpx.Client(trust_env=False, timeout=PATIENCE_S, verify=NO_TLS) as client:
        return client.post(url + PATH, json=body, headers=headers)


def minted_by(url: str, who: Someone, **tags: Any) -> RealtimeSessionToken:
    """A token of theirs, once the server knows them."""
    answers: list[httpx.Response] = []

    def is_minted() -> bool:
        answers.append(ask(url, who, **tags))
        return answers[-1].status_code == 200

    wait_until(is_minted)
    return RealtimeSessionToken.model_validate_json(answers[-1].content)
