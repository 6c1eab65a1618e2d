"""Callers of the REST operations: the administrator by signature, others by bearer keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from stapes.client.profile import load_private_key, read_profile
from stapes.identity.model import (
    BearerKey,
    Binding,
    Compartment,
    Group,
    Policy,
    Tenancy,
    User,
    Verb,
)
from stapes.signing.authorization import KeyId
from stapes.signing.signer import sign_request
from tests.waiting import wait_until

if TYPE_CHECKING:
    from stapes.store.records import Record
    from tests.conftest import Served

SESSIONS = "/20220101/realtimeSessions"
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def ocid(resource: str, number: int) -> str:
    """An OCID that nobody else has."""
    return f"ocid1.{resource}.oc1..{BASE32[number % 32] * 60}"


@dataclass(frozen=True)
class Rest:
    """A client of one server; without a bearer key it signs as the administrator."""

    served: Served
    client: httpx.Client
    bearer: str | None = None

    def call(self, method: str, target: str, body: Any = None) -> httpx.Response:
        """Send a request; its answer, whatever it is."""
        content = b"" if body is None else json.dumps(body).encode()
        if self.bearer is not None:
            headers = {"authorization": f"Bearer {self.bearer}"}
        else:
            headers = self._signed(method, target, content)
        return self.client.request(
            method, self.served.url + target, content=content, headers=headers
        )

    def get(self, target: str) -> Any:
        """The JSON of a GET that has to succeed."""
        answer = self.call("GET", target)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, target: str, body: Any = None) -> Any:
        """The JSON of a POST that has to succeed."""
        answer = self.call("POST", target, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, **more: Any) -> Any:
        """A new session's token, in the home's compartment unless said otherwise."""
        body = {"compartmentId": self.served.home.compartment_id, **more}
        return self.post("/20220101/actions/realtimeSessionToken", body)

    def _signed(self, method: str, target: str, content: bytes) -> dict[str, str]:
        host = httpx.URL(self.served.url).netloc.decode()
        key_id, key = _administrators_key(self.served.home.config_file)
        return sign_request(method, target, host, {}, content, key_id, key, datetime.now(UTC))


@cache
def _administrators_key(config_file: Path) -> tuple[KeyId, RSAPrivateKey]:
    """Read once: that takes longer than a request."""
    profile = read_profile(config_file)
    return profile.key_id, load_private_key(profile)


@contextmanager
def administrator(served: Served) -> Iterator[Rest]:
    """Who may do everything."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield Rest(served, client)


class People:
    """Users of a server's tenancies that a test brings in, each with a bearer key."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._served = rest.served
        self._count = 0
        self.users: dict[str, str] = {}

    def add(self, name: str, verb: Verb | None, place: str, tenancy_id: str = "") -> Rest:
        """A user who may ``verb`` in ``place`` (None: nothing anywhere), as a client."""
        self._count += 1
        number = self._count
        tenancy_id = tenancy_id or self._served.home.tenancy_id
        user = User(ocid("user", number), name, tenancy_id)
        self.users[name] = user.id
        key_id, secret = (BASE32[number] * 16, "s" * 43)
        records: list[Record] = [
            user,
            BearerKey(key_id, user.id, hashlib.sha256(secret.encode()).hexdigest()),
        ]
        if verb is not None:
            group = Group(ocid("group", number), name, tenancy_id, frozenset({user.id}))
            bindings = (Binding(group.id, verb, place),)
            records += [group, Policy(ocid("policy", number), name, tenancy_id, (), bindings)]
        self.write(*records)
        return Rest(self._served, self._rest.client, f"stapes_{key_id}_{secret}")

    def compartment(self, name: str, parent_id: str = "", tenancy_id: str = "") -> str:
        """A compartment below the root, or below another one."""
        self._count += 1
        tenancy_id = tenancy_id or self._served.home.tenancy_id
        made = Compartment(
            ocid("compartment", self._count), name, parent_id or tenancy_id, tenancy_id
        )
        self.write(made)
        return made.id

    def tenancy(self, name: str) -> str:
        """Another tenancy."""
        self._count += 1
        made = Tenancy(ocid("tenancy", self._count), name)
        self.write(made)
        return made.id

    def write(self, *records: Record) -> None:
        """Write as the command line would, and wait until the server has read of it."""
        store = self._served.deployment.store
        store.write(records)
        wanted = store.versions().identities
        wait_until(lambda: self._served.deployment.known.versions.identities >= wanted)
