"""``POST /20220101/actions/realtimeSessionToken``: a session and the token that opens it.

The order of the checks is what a caller can learn from the answers: the signature first, then the
body, then whether the caller may use the compartment, then tags and bounds. Nothing here waits
for the database; the record is written behind the answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from stapes.errors import (
    InvalidatedRetryTokenError,
    InvalidParameterError,
    StoreError,
)
from stapes.identity.access import require
from stapes.identity.model import Verb
from stapes.identity.tags import check_tags
from stapes.protocol.resources import (
    LONGEST_COMPARTMENT_ID,
    CreateRealtimeSessionTokenDetails,
)
from stapes.server.accounting import unrecordable
from stapes.server.authentication import Caller, Sent, new_session_id, sent_by, verify_sent
from stapes.server.deployment import Deployment
from stapes.server.openapi import LONGEST_RETRY_TOKEN, token_operation
from stapes.server.parsing import parse_body
from stapes.server.refusals import Answer
from stapes.store.records import Audited, SessionCreated
from stapes.tokens.limits import Limits, parse_limits
from stapes.tokens.minting import claims, mint
from stapes.tokens.revocations import date_of_issue

PATH = "/20220101/actions/realtimeSessionToken"
LETTERS_OF_JTI = 32
_ALLOWED = {
    "compartmentId": f"must be a string of 1 to {LONGEST_COMPARTMENT_ID} characters",
    "freeformTags": "must be an object of strings",
    "definedTags": "must be an object of objects of strings, integers and booleans",
}


router = APIRouter()


@router.post(PATH, **token_operation())
async def create_realtime_session_token(request: Request) -> Response:
    """Create a session and the token that authenticates it."""
    sent = sent_by(request, await request.body())
    answer = create_token(request.app.state.deployment, sent)
    response = Response(answer.body, answer.status)
    response.raw_headers = answer.headers
    return response


def create_token(deployment: Deployment, sent: Sent) -> Answer:
    """Create a session and answer with the token that authenticates it, and with its etag.

    Raises `stapes.errors.ApiError`.
    """
    caller = verify_sent(deployment, sent)
    details = parse_details(sent.body)
    retry_token = parse_retry_token(sent.header(b"opc-retry-token"))
    body_sha256 = None if retry_token is None else hashlib.sha256(sent.body).hexdigest()
    asked = _Asked(caller, details, retry_token, body_sha256)
    issued = _issue(deployment, asked, datetime.now(UTC))
    answer = _resource(deployment, issued)
    headers = [
        (b"etag", b'"%s"' % issued.session_id[-LETTERS_OF_JTI:].encode()),
        (b"content-length", b"%d" % len(answer)),
        (b"content-type", b"application/json"),
    ]
    return Answer(HTTPStatus.OK, headers, answer)


def parse_details(body: bytes) -> CreateRealtimeSessionTokenDetails:
    """The request's body.

    Raises `stapes.errors.CannotParseRequestError` when it is no JSON object;
    `stapes.errors.MissingParameterError` and `InvalidParameterError`, which name the field.
    """
    return parse_body(CreateRealtimeSessionTokenDetails, body, _ALLOWED)


def parse_retry_token(sent: str | None) -> str | None:
    """The ``opc-retry-token`` header. Raises `InvalidParameterError` for one of another length."""
    if sent is not None and not 1 <= len(sent) <= LONGEST_RETRY_TOKEN:
        raise InvalidParameterError(
            f"opc-retry-token must have 1 to {LONGEST_RETRY_TOKEN} characters."
        )
    return sent


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that was understood, and by whom it was made."""

    caller: Caller
    details: CreateRealtimeSessionTokenDetails
    retry_token: str | None
    body_sha256: str | None


def _issue(deployment: Deployment, asked: _Asked, now: datetime) -> SessionCreated:
    """The record of a new token, or that of the first answer to a request that is sent again.

    There is no await between looking for the first answer and keeping a new one, so of two equal
    requests at once one is the first.
    """
    details, user_id = asked.details, asked.caller.user_id
    require(deployment.known.directory, user_id, Verb.USE, details.compartment_id)
    check_tags(details.freeform_tags, details.defined_tags)
    limits = parse_limits(details.defined_tags)
    first = deployment.retries.recall(user_id, asked.retry_token, asked.body_sha256, now)
    if first is not None:
        return first
    deployment.quotas.take_token(user_id)
    issued = _new(deployment, asked, limits, now)
    try:
        deployment.writer.put(issued, _minted(issued))
    except StoreError as error:
        raise unrecordable(error) from error
    deployment.retries.remember(issued)
    deployment.metrics.tokens_minted.inc()
    return issued


def _new(
    deployment: Deployment, asked: _Asked, limits: Limits | None, now: datetime
) -> SessionCreated:
    settings, caller, details = deployment.settings, asked.caller, asked.details
    session_id = new_session_id()
    issued_at = date_of_issue(deployment.known.revocations, caller.tenancy_id, caller.user_id, now)
    made = claims(
        session_id=session_id,
        tenancy_id=caller.tenancy_id,
        compartment_id=details.compartment_id,
        user_id=caller.user_id,
        jti=session_id[-LETTERS_OF_JTI:],  # a session has one token: what is unique is unique
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now=issued_at,
        ttl_s=settings.token_ttl_s,
        limits=limits,
    )
    return SessionCreated(
        session_id=session_id,
        tenancy_id=caller.tenancy_id,
        compartment_id=details.compartment_id,
        user_id=caller.user_id,
        kid=deployment.signing_key(now).kid,
        issued_at=issued_at,
        expires_at=datetime.fromtimestamp(made["exp"], UTC),
        claims=made,
        freeform_tags=details.freeform_tags,
        defined_tags=details.defined_tags,
        retry_token=asked.retry_token,
        body_sha256=asked.body_sha256,
        server_id=deployment.server_id,
    )


def _minted(issued: SessionCreated) -> Audited:
    subject, tenancy_id = issued.session_id, issued.tenancy_id
    return Audited(issued.issued_at, issued.user_id, "token.minted", subject, tenancy_id)


def _resource(deployment: Deployment, issued: SessionCreated) -> bytes:
    """The answer, byte for byte the same each time it is made from the same record.

    It is the JSON of a `stapes.RealtimeSessionToken`, which would be checked once more.
    """
    assert issued.kid is not None  # it is the record of a token
    assert issued.claims is not None
    key = deployment.known.keyring.private.get(issued.kid)
    if key is None:
        raise InvalidatedRetryTokenError(f"the first answer's key {issued.kid} is gone")
    resource: dict[str, object] = {
        "token": mint(issued.claims, key),
        "sessionId": issued.session_id,
        "compartmentId": issued.compartment_id,
    }
    if issued.freeform_tags is not None:
        resource["freeformTags"] = issued.freeform_tags
    if issued.defined_tags is not None:
        resource["definedTags"] = issued.defined_tags
    return to_json(resource)
