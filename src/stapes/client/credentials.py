"""What a session authenticates with: a token, tokens that are fetched, or a profile's own key."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from stapes.client.profile import Profile, load_private_key, read_profile
from stapes.errors import ClientError, TokenCallbackError
from stapes.protocol.messages import (
    Authentication,
    CredentialsAuthentication,
    TokenAuthentication,
)
from stapes.protocol.resources import RealtimeSessionToken
from stapes.signing.signer import sign_credentials

Token = str | RealtimeSessionToken
TokenCallback = Callable[[], Token | Awaitable[Token]]


class Credential(Protocol):
    """Makes the authentication message of each socket."""

    async def authentication(self, url: str) -> Authentication:
        """The first message of a socket that is opened at ``url``. Raises `ClientError`."""
        ...

    def renew(self) -> bool:
        """Whether another message may be accepted now that this one was refused."""
        ...


class TokenCredential:
    """A token, and what fetches the next one when the server does not take it any more.

    A callback that is a plain function runs in the event loop; one that waits is a coroutine
    function.
    """

    def __init__(
        self, token: Token | None, callback: TokenCallback | None, compartment_id: str | None
    ) -> None:
        self._token = token
        self._callback = callback
        self._compartment_id = compartment_id

    async def authentication(self, url: str) -> Authentication:
        """The token's, fetched when there is none. Raises `TokenCallbackError` too."""
        if self._token is None:
            self._token = await self._fetch()
        return _token_message(self._token, self._compartment_id)

    async def _fetch(self) -> Token:
        assert self._callback is not None
        try:
            fetched = self._callback()
            return await fetched if inspect.isawaitable(fetched) else fetched
        except Exception as error:  # it is the program's own, and may fail as it likes
            raise TokenCallbackError(f"no token could be fetched: {error!r}") from error

    def renew(self) -> bool:
        """Have the next message made with a new token, when there is a way to one."""
        if self._callback is None:
            return False
        self._token = None
        return True


class ProfileCredential:
    """A profile whose key signs for each socket anew."""

    def __init__(self, profile: Profile, compartment_id: str | None) -> None:
        self._profile = profile
        self._compartment_id = compartment_id or profile.compartment
        self._key: RSAPrivateKey | None = None

    async def authentication(self, url: str) -> Authentication:
        """Signed for ``url``, now."""
        if self._key is None:  # read once: it takes longer than signing, and nothing else runs
            self._key = load_private_key(self._profile)
        return CredentialsAuthentication(
            authentication_type="CREDENTIALS",
            compartment_id=self._compartment_id,
            headers=sign_credentials(url, self._profile.key_id, self._key, datetime.now(UTC)),
        )

    def renew(self) -> bool:
        """Signing once more changes nothing."""
        return False


def credential(
    token: Token | None,
    token_callback: TokenCallback | None,
    profile: str | Profile | None,
    compartment_id: str | None,
) -> Credential:
    """What `connect` was given, as one. A string names a profile of the configuration file.

    Raises `ClientError` when it was given nothing or too much, or the profile cannot be read.
    """
    has_token = token is not None or token_callback is not None
    if has_token == (profile is not None):
        raise ClientError("give a token, a token_callback or both; or else a profile")
    if profile is None:
        return TokenCredential(token, token_callback, compartment_id)
    read = read_profile(name=profile) if isinstance(profile, str) else profile
    return ProfileCredential(read, compartment_id)


def _token_message(token: Token, compartment_id: str | None) -> TokenAuthentication:
    text = token if isinstance(token, str) else token.token
    if compartment_id is None:
        compartment_id = _compartment_of(text) if isinstance(token, str) else token.compartment_id
    return TokenAuthentication(
        authentication_type="TOKEN", compartment_id=compartment_id, token=text
    )


def _compartment_of(token: str) -> str:
    """Read, not verified: the server does that, and compares."""
    try:
        compartment = jwt.decode(token, options={"verify_signature": False}).get("compartment")
    except jwt.PyJWTError:
        compartment = None
    if not isinstance(compartment, str) or not compartment:
        raise ClientError("the token does not tell its compartment: give compartment_id too")
    return compartment
