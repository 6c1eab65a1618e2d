"""Who is asking: signed requests and sockets, bearer keys, session tokens.

Everything is verified against what the server knows by heart: nothing here reads the database.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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


def verify_request(deployment: Deployment, request: Request, body: bytes) -> Caller:
    """Verify who makes an HTTP request, over the bytes as they were received.

    By an OCI request signature, or by ``Authorization: Bearer`` with a bearer key. Raises
    `stapes.errors.NotAuthenticatedError`, and `stapes.errors.FailedAuthenticationsError` when the
    address failed too often before.
    """
    address = request.client.host if request.client else ""
    deployment.quotas.check_failures(address)
    try:
        return _verify_request(deployment, request, body, datetime.now(UTC))
    except NotAuthenticatedError:
        deployment.quotas.note_failure(address)
        raise


def _verify_request(deployment: Deployment, request: Request, body: bytes, now: datetime) -> Caller:
    known = deployment.known
    if request.headers.get("authorization", "")[: len(BEARER)].lower() == BEARER:
        return _verify_bearer(known.directory, request, now)
    key_id = signing.verify_request(
        request.method,
        raw_target(request),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
        body,
        lambda key_id: known.find_public_key(key_id, now),
        now,
        deployment.settings.signature_skew_s,
    )
    return Caller(key_id.user_id, key_id.tenancy_id)


def _verify_bearer(directory: Directory, request: Request, now: datetime) -> Caller:
    sent = request.headers.getlist("authorization")
    if len(sent) != 1:
        raise BearerKeyError("more than one Authorization")
    key = find_bearer_key(directory, *parse_bearer_key(sent[0][len(BEARER) :].strip()), now)
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
    """The OCID of a session that did not exist before."""
    return format_ocid("aispeechrealtimesession", os.urandom(ENTROPY_BYTES))
