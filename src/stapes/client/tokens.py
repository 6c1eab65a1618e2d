"""Mint a session token at a server's endpoint, signed with the key of a profile."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from stapes.client.profile import Profile, load_private_key
from stapes.client.urls import is_loopback, token_url
from stapes.errors import ClientError, ServerRefusedError, ServerUnreachableError
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken
from stapes.signing.signer import sign_request

TIMEOUT_S = 10
WAYS_OUT = {
    401: "is the profile one of this server's, and its clock right?",
    404: "is the compartment one of this server's?",
}


def mint_token(
    base_url: str, profile: Profile, details: CreateRealtimeSessionTokenDetails
) -> RealtimeSessionToken:
    """Mint a token at the server of ``base_url``.

    Raises:
        ClientError: the profile's key cannot be used, or the answer is not a token.
        ServerUnreachableError: no server answers.
        ServerRefusedError: the server said no; with its own code and message.
    """
    url = token_url(base_url)
    body = details.to_json().encode()
    headers = _signed_headers(url, body, profile)
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=not is_loopback(url)) as client:
            response = client.post(url, content=body, headers=headers)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise ServerUnreachableError(unreachable(base_url, error)) from error
    if response.status_code != httpx.codes.OK:
        raise _refusal(response)
    try:
        return RealtimeSessionToken.model_validate_json(response.content)
    except ValidationError as error:
        raise ClientError(f"the answer of {url} is no session token") from error


def unreachable(base_url: str, error: Exception) -> str:
    """One line for people about a server that does not answer."""
    cause = str(error) or type(error).__name__
    return f"no server answers at {base_url} ({cause}); `stapes serve` starts one"


def _signed_headers(url: str, body: bytes, profile: Profile) -> dict[str, str]:
    parts = urlsplit(url)
    return sign_request(
        "POST",
        parts.path,
        parts.netloc,
        {"accept": "application/json", "content-type": "application/json"},
        body,
        profile.key_id,
        load_private_key(profile),
        datetime.now(UTC),
    )


def _refusal(response: httpx.Response) -> ServerRefusedError:
    try:
        told = response.json()
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "", "the answer says no more; is it a Stapes server?"
    words = [f"{response.status_code} {code}:", message, WAYS_OUT.get(response.status_code, "")]
    return ServerRefusedError(
        f"{response.url} refused a token: {' '.join(words).rstrip()}",
        code=code,
        status=response.status_code,
    )
