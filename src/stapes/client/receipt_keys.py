"""The public keys that a server signs usage receipts with."""

from __future__ import annotations

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stapes.client.tokens import TIMEOUT_S, unreachable
from stapes.client.urls import is_loopback, receipt_keys_url
from stapes.errors import ClientError, ServerUnreachableError
from stapes.tokens.keys import parse_jwks


def fetch_receipt_keys(base_url: str) -> dict[str, Ed25519PublicKey]:
    """The keys by kid, from the server of ``base_url``: by TLS, or from this machine.

    Raises:
        ClientError: the URL is another one, or the answer is no set of keys.
        ServerUnreachableError: no server answers.
    """
    url = receipt_keys_url(base_url)
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=not is_loopback(url)) as client:
            response = client.get(url)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServerUnreachableError(unreachable(base_url, error)) from error
    try:
        return parse_jwks(response.raise_for_status().json())
    except (httpx.HTTPStatusError, ValueError, RecursionError) as error:
        raise ClientError(f"the answer of {url} is no set of keys") from error
