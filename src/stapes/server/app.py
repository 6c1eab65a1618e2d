"""The application: every route of a server, over one deployment."""

from __future__ import annotations

from fastapi import FastAPI

from stapes import __version__
from stapes.server import (
    health,
    metrics_endpoint,
    openapi,
    refusals,
    revoking_endpoint,
    sessions_endpoint,
    stream,
    token_endpoint,
    usage_endpoint,
)
from stapes.server.deployment import Deployment


def create_app(deployment: Deployment) -> FastAPI:
    """The ASGI application. Whoever opened ``deployment`` closes it."""
    app = FastAPI(
        title="Stapes",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.deployment = deployment
    for module in (
        token_endpoint,
        sessions_endpoint,
        revoking_endpoint,
        usage_endpoint,
        health,
        metrics_endpoint,
    ):
        app.include_router(module.router)
    app.router.routes.append(stream.route)
    openapi.describe(app)
    refusals.install(app, longest_body_bytes=deployment.settings.longest_body_bytes)
    return app
