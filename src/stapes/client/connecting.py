"""`connect`: from what a program gives to an open session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from stapes.audio.encodings import parse_encoding
from stapes.client.credentials import Token, TokenCallback, credential
from stapes.client.dialing import Dialer
from stapes.client.profile import Profile
from stapes.client.reconnecting import Reconnect, Redialing
from stapes.client.resuming import Resuming
from stapes.client.session import Session
from stapes.errors import ClientError, InvalidParameterError

DEFAULT_ENCODING = "audio/raw;rate=16000"


@asynccontextmanager
async def connect(
    url: str | Sequence[str],
    *,
    token: Token | None = None,
    token_callback: TokenCallback | None = None,
    profile: str | Profile | None = None,
    compartment_id: str | None = None,
    parameters: Mapping[str, str] | None = None,
    reconnect: Reconnect | None = None,
    buffer_s: float = 600,
) -> AsyncIterator[Session]:
    """Open a session; it ends when the block is left.

    Args:
        url: the server's base URL, ``http(s)`` or ``ws(s)``; several when several servers are one
            service.
        token: a session token: the answer of the token endpoint, or its JWT alone.
        token_callback: fetches a token when there is none, and again when it has expired.
        profile: in place of tokens, whose key signs; by name, from the OCI configuration file.
        compartment_id: the session's compartment; that of the token or profile when not given.
        parameters: the query parameters of the socket, by their names on the wire. Audio is
            acknowledged unless they say ``isAckEnabled=false``.
        reconnect: how a lost connection is mended.
        buffer_s: seconds of audio that are kept for a server that is away.

    Raises:
        ServerUnreachableError: no server answers, or the connection is lost at once.
        ServerRefusedError: the server said no; with its own code and message.
        TokenCallbackError: ``token_callback`` failed.
        ClientError: the credential cannot be used, or the answer cannot be read.
    """
    asked = {"encoding": DEFAULT_ENCODING, "isAckEnabled": "true", **(parameters or {})}
    urls = [url] if isinstance(url, str) else url
    dialer = Dialer(urls, credential(token, token_callback, profile, compartment_id), asked)
    ledger = _ledger(asked, buffer_s)
    opened = await dialer.dial_any()
    session = Session(Redialing(dialer, reconnect or Reconnect()), opened, ledger)
    try:
        yield session
    finally:
        await session.close()


def _ledger(asked: Mapping[str, str], buffer_s: float) -> Resuming:
    try:
        encoding = parse_encoding(asked["encoding"])
    except InvalidParameterError as error:
        raise ClientError(error.public) from error
    return Resuming(
        encoding,
        buffer_bytes=encoding.ms_to_bytes(int(buffer_s * 1000)),
        is_acknowledged=asked["isAckEnabled"] == "true",
    )
