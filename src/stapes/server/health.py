"""Whether the server is alive and ready, and the public keys of its tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from stapes.errors import StoreError
from stapes.server.deployment import Deployment
from stapes.tokens.keys import jwks

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """Answers as long as the process turns."""
    return {"status": "alive"}


@router.get("/ready", responses={503: {"description": "not ready, with the reasons"}})
async def ready(request: Request) -> JSONResponse:
    """Whether sessions can be opened and recorded now, and how many more."""
    deployment: Deployment = request.app.state.deployment
    reasons = await reasons_not_to_be_ready(deployment)
    if reasons:
        return JSONResponse({"status": "not ready", "reasons": reasons}, status_code=503)
    return JSONResponse(
        {
            "status": "ready",
            "engine": deployment.pool.capabilities.name,
            "streams": {"live": len(deployment.live), "limit": deployment.pool.limit},
        }
    )


@router.get("/.well-known/jwks.json")
async def public_keys(request: Request) -> dict[str, Any]:
    """The keys that verify session tokens (RFC 7517 section 5)."""
    deployment: Deployment = request.app.state.deployment
    return jwks(deployment.verifying_keys.values())


async def reasons_not_to_be_ready(deployment: Deployment) -> list[str]:
    """One sentence each; none when all is well."""
    found = [
        "the server is stopping" if deployment.draining else None,
        deployment.pool.problem,
        deployment.writer.problem or await _why_unwritable(deployment),
    ]
    return [reason for reason in found if reason]


async def _why_unwritable(deployment: Deployment) -> str | None:
    try:
        await asyncio.to_thread(deployment.store.check_writable)
    except StoreError as error:
        return f"the database is not writable: {error}"
    return None
