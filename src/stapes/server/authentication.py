"""Who is asking: signatures of requests and sockets, and session tokens, against a deployment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import Request

from stapes.identity.access import require
from stapes.identity.model import Verb
from stapes.identity.ocid import ENTROPY_BYTES, format_ocid
from stapes.server.deployment import Deployment
from stapes.signing import verification as signing
from stapes.tokens import verification as tokens
from stapes.tokens.grant import Grant


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request."""

    user_id: str
    tenancy_id: str


def verify_request(deployment: Deployment, request: Request, body: bytes) -> Caller:
    """Verify the OCI request signature of an HTTP request, over the bytes as they were received.

    Raises `stapes.errors.SignatureError`.
    """
    key_id = signing.verify_request(
        request.method,
        raw_target(request),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
        body,
        deployment.find_public_key,
        datetime.now(UTC),
        deployment.settings.signature_skew_s,
    )
    return Caller(key_id.user_id, key_id.tenancy_id)


def raw_target(request: Request) -> str:
    """Path and query as they were sent, never decoded and encoded again."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def grant_for_token(
    deployment: Deployment, token: str, compartment_id: str, now: datetime
) -> Grant:
    """What a session token grants to a message that names ``compartment_id``.

    Raises `stapes.errors.TokenError`; `stapes.errors.NotAuthorizedOrNotFoundError` when the user
    may no longer use the compartment.
    """
    settings = deployment.settings
    grant = tokens.verify(
        token,
        keys=deployment.verifying_keys,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=now,
        skew_s=settings.token_skew_s,
    )
    tokens.check_compartment(grant, compartment_id)
    require(deployment.directory, grant.user_id, Verb.USE, compartment_id)
    return grant


def grant_for_credentials(
    deployment: Deployment, headers: Mapping[str, str], compartment_id: str, now: datetime
) -> Grant:
    """What the signed ``headers`` of a CREDENTIALS message grant: a new session.

    Raises `stapes.errors.SignatureError`; `stapes.errors.NotAuthorizedOrNotFoundError` when the
    signer may not use the compartment.
    """
    settings = deployment.settings
    key_id = signing.verify_credentials(
        headers, deployment.find_public_key, now, settings.signature_skew_s
    )
    require(deployment.directory, key_id.user_id, Verb.USE, compartment_id)
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
