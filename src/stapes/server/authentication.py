"""Who is asking: signed requests and sockets, bearer keys, session tokens.

Everything is verified against what the server knows by heart: nothing here reads the database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import Request

from stapes.errors import BearerKeyError, NotAuthenticatedError, TokenClaimError
from stapes.identity.access import find_bearer_key, require
from stapes.identity.bearer import parse_bearer_key
from stapes.identity.model import Directory, Verb
from stapes.identity.ocid import ENTROPY_BYTES, format_ocid
from stapes.server.deployment import Deployment
from stapes.server.http_transport import TARGET
from stapes.signing import verification as signing
from stapes.tokens import verification as tokens
from stapes.tokens.grant import Grant

BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    user_id: str
    tenancy_id: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was sent.

    Attributes:
        target: path and query, never decoded and encoded again.
        headers: names in lower case; each occurrence is a pair.
        address: the peer's, or what a trusted proxy says it is.
    """

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    address: str

    def header(self, name: bytes) -> str | None:
        """The first value of a header; None when there is none."""
        for each, value in self.headers:
            if each == name:
                return value.decode("latin-1")
        return None


def sent_by(request: Request, body: bytes) -> Sent:
    """What came as an ASGI request."""
    address = request.client.host if request.client else ""
    return Sent(request.method, raw_target(request), request.headers.raw, body, address)


def verify_request(deployment: Deployment, request: Request, body: bytes) -> Caller:
    """Verify who makes an HTTP request: see `verify_sent`."""
    return verify_sent(deployment, sent_by(request, body))


def verify_sent(deployment: Deployment, sent: Sent) -> Caller:
    """Verify who makes a request, over the bytes as they were received.

    By an OCI request signature, or by ``Authorization: Bearer`` with a bearer key. Raises
    `stapes.errors.NotAuthenticatedError`, and `stapes.errors.FailedAuthenticationsError` when the
    address failed too often before.
    """
    deployment.quotas.check_failures(sent.address)
    try:
        return _verify_sent(deployment, sent, datetime.now(UTC))
    except NotAuthenticatedError:
        deployment.quotas.note_failure(sent.address)
        raise


def _verify_sent(deployment: Deployment, sent: Sent, now: datetime) -> Caller:
    known = deployment.known
    authorization = sent.header(b"authorization") or ""
    if authorization[: len(BEARER)].lower() == BEARER:
        return _verify_bearer(known.directory, sent, authorization, now)
    key_id = signing.verify_request(
        sent.method,
        sent.target,
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent.headers],
        sent.body,
        lambda key_id: known.find_public_key(key_id, now),
        now,
        deployment.settings.signature_skew_s,
    )
    return Caller(key_id.user_id, key_id.tenancy_id)


def _verify_bearer(directory: Directory, sent: Sent, authorization: str, now: datetime) -> Caller:
    if sum(name == b"authorization" for name, _ in sent.headers) != 1:
        raise BearerKeyError("more than one Authorization")
    key = find_bearer_key(directory, *parse_bearer_key(authorization[len(BEARER) :].strip()), now)
    if key is None:
        raise BearerKeyError("no such key, or one that is not in use")
    return Caller(key.user_id, directory.users[key.user_id].tenancy_id)


def raw_target(request: Request) -> str:
    """Path and query as they were sent, never decoded and encoded again."""
    sent: bytes | None = request.scope.get("extensions", {}).get(TARGET)
    if sent is not None:
        return sent.decode("latin-1")
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def grant_for_token(
    deployment: Deployment,
    token: str,
    compartment_id: str | None,
    now: datetime,
    late_s: float = 0,
) -> Grant:
    """What a session token grants to a message that names ``compartment_id``; None: it names none.

    It is accepted ``late_s`` after it has expired: a stream in progress may outlive its token.

    Raises `stapes.errors.TokenError`; `stapes.errors.NotAuthorizedOrNotFoundError` when the user
    may no longer use the compartment.
    """
    settings, known = deployment.settings, deployment.known
    grant = tokens.verify(
        token,
        keys=known.keyring.verifying(now),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=now,
        skew_s=settings.token_skew_s,
        late_s=late_s,
    )
    if compartment_id is not None:
        tokens.check_compartment(grant, compartment_id)
    user = known.directory.users.get(grant.user_id)
    if user is not None and user.tenancy_id != grant.tenancy_id:
        raise TokenClaimError(f"tenant is not that of {grant.user_id}")
    known.revocations.check(grant)
    require(known.directory, grant.user_id, Verb.USE, grant.compartment_id)
    return grant


def grant_for_credentials(
    deployment: Deployment, headers: Mapping[str, str], compartment_id: str, now: datetime
) -> Grant:
    """What the signed ``headers`` of a CREDENTIALS message grant: a new session.

    Raises `stapes.errors.SignatureError`; `stapes.errors.NotAuthorizedOrNotFoundError` when the
    signer may not use the compartment.
    """
    settings, known = deployment.settings, deployment.known
    key_id = signing.verify_credentials(
        headers,
        lambda key_id: known.find_public_key(key_id, now),
        now,
        settings.signature_skew_s,
    )
    require(known.directory, key_id.user_id, Verb.USE, compartment_id)
    session_id = new_session_id()
    return Grant(
        session_id=session_id,
        tenancy_id=key_id.tenancy_id,
        compartment_id=compartment_id,
        user_id=key_id.user_id,
        issued_at=now,
        expires_at=now + timedelta(seconds=settings.token_ttl_s),
        jti=session_id,  # no token was minted; the session stands for it
    )


def new_session_id() -> str:
    """The OCID of a session that did not exist before.

    It begins with the time (each hexadecimal digit becomes a letter of its own): a database keeps
    rows by their ids, and with random ones would write another page for every session.
    """
    clock = f"{time.time_ns() // 1_000_000:012x}".encode("ascii")
    random = os.urandom(ENTROPY_BYTES - len(clock))
    return format_ocid("aispeechrealtimesession", clock + random)
