"""``/metrics``: the server's figures, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from stapes.identity.model import Verb
from stapes.server.authentication import verify_request
from stapes.server.deployment import Deployment
from stapes.server.openapi import operation
from stapes.server.sessions import require_root

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter()
_DECLARED = operation("GetMetrics", 200, "The figures.")
_DECLARED["responses"][200]["content"] = {"text/plain": {"schema": {"type": "string"}}}


@router.get("/metrics", response_class=Response, **_DECLARED)
async def metrics(request: Request) -> Response:
    """What the server has and counts, for whoever may inspect the whole tenancy."""
    deployment: Deployment = request.app.state.deployment
    caller = verify_request(deployment, request, await request.body())
    require_root(deployment, caller, Verb.INSPECT)
    return Response(deployment.metrics.exposition(deployment), media_type=CONTENT_TYPE)
