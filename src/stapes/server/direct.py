"""Requests for a token that are answered right where their last byte arrives.

It is the one operation that is asked for thousands of times a second. What ASGI puts around it (a
task, a scope, a dozen messages and middlewares, the router) costs several times its cryptography.
The operation and the way its errors are told are those of the ASGI application.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from stapes.server.authentication import Sent
from stapes.server.deployment import Deployment
from stapes.server.refusals import REQUEST_ID, Answer, answered, log
from stapes.server.token_endpoint import PATH, create_token

_METHOD = b"POST"
_TARGET = PATH.encode()
_TARGET_AND_QUERY = _TARGET + b"?"
_REQUEST_ID = REQUEST_ID.encode()

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case; each occurrence is a pair."""


class Direct:
    """Takes what is plainly a request for a token; everything else is the application's."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._log = log.bind()
        self._longest_body_bytes = deployment.settings.longest_body_bytes
        self._proxies = _trusted_proxies(deployment.settings.trusted_proxies)

    def takes(self, method: bytes, target: bytes, headers: Headers) -> bool:
        """Whether `answer` answers it: this very path and a body whose length is known and fits.

        The parser has seen to it that the length, if it is there, is the one and only.
        """
        if method != _METHOD or not (target == _TARGET or target.startswith(_TARGET_AND_QUERY)):
            return False
        lengths = [value for name, value in headers if name == b"content-length"]
        return bool(lengths) and int(lengths[0]) <= self._longest_body_bytes

    def answer(self, target: bytes, headers: Headers, body: bytes, peer: str) -> Answer:
        """Answer a request that `takes` took; it may wait for nothing, and never raises."""
        sent = Sent("POST", target.decode("latin-1"), headers, body, self._address(peer, headers))
        return answered(
            "POST",
            PATH,
            sent.header(_REQUEST_ID),
            lambda: create_token(self._deployment, sent),
            self._log,
        )

    def _address(self, peer: str, headers: Headers) -> str:
        """The peer's address, or what a trusted proxy says it is, as uvicorn reads it."""
        if self._proxies is None or peer not in self._proxies:
            return peer
        forwarded = [value for name, value in headers if name == b"x-forwarded-for"]
        if not forwarded:
            return peer
        said = b", ".join(forwarded).decode("latin-1")
        return self._proxies.get_trusted_client_address(said)[0] or peer


def _trusted_proxies(addresses: str) -> Any:
    """Who they are, as uvicorn sees them; None without any."""
    if not addresses:
        return None
    middleware = ProxyHeadersMiddleware(_nothing, trusted_hosts=addresses)
    return middleware.trusted_hosts


async def _nothing(*_: object) -> None:
    """No application."""
