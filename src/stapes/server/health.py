"""Whether the server is alive and ready, and the public keys of its tokens."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from stapes.errors import StoreError
from stapes.server.deployment import Deployment
from stapes.server.openapi import headers, refusals
from stapes.tokens.keys import jwks
from stapes.workers.shares import Share

router = APIRouter()


class Alive(BaseModel):
    """The process turns."""

    status: Literal["alive"] = "alive"


class Streams(BaseModel):
    """How many streams there are, and how many there may be."""

    live: int
    limit: int


class ModelShare(BaseModel):
    """What one model serves: every language in every domain."""

    model_config = ConfigDict(alias_generator=to_camel)

    model: str
    engine: str
    model_type: str
    model_domains: list[str]
    language_codes: list[str]


class Ready(BaseModel):
    """Sessions can be opened and recorded."""

    status: Literal["ready"]
    models: list[ModelShare]
    punctuation: list[ModelShare]
    streams: Streams


class NotReady(BaseModel):
    """Sessions cannot be opened or not be recorded, and why."""

    status: Literal["not ready"]
    reasons: list[str]


class PublicKey(BaseModel):
    """A key as RFC 8037 section 2 has it."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["EdDSA"]


class PublicKeys(BaseModel):
    """A set of keys (RFC 7517 section 5)."""

    keys: list[PublicKey]


def _answers(description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "headers": headers()}, **refusals()}


@router.get("/health", operation_id="GetHealth", responses=_answers("It is alive."))
async def health() -> Alive:
    """Answers as long as the process turns."""
    return Alive()


@router.get(
    "/ready",
    operation_id="GetReadiness",
    response_model=Ready,
    responses={
        **_answers("It is ready."),
        503: {"model": NotReady, "description": "It is not, and why.", "headers": headers()},
    },
)
async def ready(request: Request) -> JSONResponse:
    """Whether sessions can be opened and recorded now, how many, and which model serves what."""
    deployment: Deployment = request.app.state.deployment
    reasons = await reasons_not_to_be_ready(deployment)
    if reasons:
        return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=503)
    return JSONResponse(
        {
            "status": "ready",
            "models": [_share_object(share) for share in deployment.pool.shares],
            "punctuation": [_share_object(share) for share in deployment.pool.marked],
            "streams": {"live": len(deployment.live), "limit": deployment.pool.limit},
        }
    )


def _share_object(share: Share) -> dict[str, Any]:
    return {
        "model": share.model,
        "engine": share.engine,
        "modelType": share.model_type,
        "modelDomains": share.domains,
        "languageCodes": share.languages,
    }


@router.get(
    "/.well-known/jwks.json",
    operation_id="GetPublicKeys",
    response_model=PublicKeys,
    responses=_answers("The keys."),
)
async def public_keys(request: Request) -> dict[str, Any]:
    """The keys that verify session tokens (RFC 7517 section 5)."""
    deployment: Deployment = request.app.state.deployment
    return jwks(deployment.known.keyring.verifying(datetime.now(UTC)).values())


@router.get(
    "/.well-known/receipt-keys.json",
    operation_id="GetReceiptKeys",
    response_model=PublicKeys,
    responses=_answers("The keys."),
)
async def receipt_keys(request: Request) -> dict[str, Any]:
    """Every key that ever signed: a receipt is good for ever (RFC 7517 section 5)."""
    deployment: Deployment = request.app.state.deployment
    return jwks(deployment.known.keyring.public.values())


async def reasons_not_to_be_ready(deployment: Deployment) -> list[str]:
    """One sentence each; none when all is well."""
    found = [
        "the server is stopping" if deployment.draining else None,
        deployment.pool.problem,
        deployment.store_problem,
        deployment.writer.problem or await _why_unwritable(deployment),
    ]
    return [reason for reason in found if reason]


async def _why_unwritable(deployment: Deployment) -> str | None:
    try:
        await asyncio.to_thread(deployment.store.check_writable)
    except StoreError as error:
        return f"the database is not writable: {error}"
    return None
