"""Open and authenticate the sockets of a session, at one server after another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from stapes.client.credentials import Credential
from stapes.client.tokens import unreachable
from stapes.client.urls import is_loopback, stream_url
from stapes.errors import ClientError, ServerRefusedError, ServerUnreachableError
from stapes.protocol.extension import SUBPROTOCOL, Extended
from stapes.protocol.messages import Connect, ErrorMessage, Outgoing

CONNECT_TIMEOUT_S = 15
CLOSE_TIMEOUT_S = 3
PING_INTERVAL_S = 20
PING_TIMEOUT_S = 40

Message = Outgoing | Extended

_PLAIN: TypeAdapter[Outgoing] = TypeAdapter(Annotated[Outgoing, Field(discriminator="event")])
_EXTENDED: TypeAdapter[Extended] = TypeAdapter(Annotated[Extended, Field(discriminator="event")])


@dataclass(frozen=True, slots=True)
class Opened:
    """A socket whose CONNECT has come."""

    socket: ClientConnection
    message: Connect


class Dialer:
    """Opens sockets at the servers of ``urls``, which are one service: the first one first.

    Args:
        urls: base URLs, ``http(s)`` or ``ws(s)``.
        credential: what each socket authenticates with.
        parameters: the query of the socket, by the names on the wire.
    """

    def __init__(
        self, urls: Sequence[str], credential: Credential, parameters: Mapping[str, str]
    ) -> None:
        self._urls = list(urls)
        self._credential = credential
        self._parameters = dict(parameters)

    @property
    def url(self) -> str:
        """The server that is dialled next."""
        return self._urls[0]

    def move_on(self) -> None:
        """Dial the next server from now on."""
        self._urls.append(self._urls.pop(0))

    async def dial_any(self) -> Opened:
        """Begin a session at the first server that is there and takes it.

        Raises what `dial` raises: that a server is away, stops or has no room, only of the last.
        """
        for _ in self._urls[1:]:
            try:
                return await self.dial()
            except ServerUnreachableError:
                pass
            except ServerRefusedError as error:
                if error.status != 503:
                    raise
            self.move_on()
        return await self.dial()

    async def dial(self, **resume: str) -> Opened:
        """Open a socket; ``resume`` says in the query which stream goes on, and where.

        Raises:
            ServerUnreachableError: no server answers, or the connection is lost at once.
            ServerRefusedError: the server said no; with its own code and message.
            TokenCallbackError: no token could be fetched.
            ClientError: the credential cannot be used, or the answer cannot be read.
        """
        url = stream_url(self.url, {**self._parameters, **resume})
        try:
            return await self._open(url)
        except ServerRefusedError as error:
            if error.status != 401 or not self._credential.renew():
                raise
        return await self._open(url)

    async def _open(self, url: str) -> Opened:
        authentication = await self._credential.authentication(url)
        socket = await self._connect(url)
        try:
            return Opened(socket, await _connected(socket, authentication.encode()))
        except BaseException:
            socket.transport.abort()
            raise

    async def _connect(self, url: str) -> ClientConnection:
        # A pong waits behind the audio that a server leaves unread while its engine is behind.
        # Where audio is acknowledged that is little; else a ping could end a live connection.
        is_acknowledged = self._parameters.get("isAckEnabled") == "true"
        try:
            return await connect(
                url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                ping_interval=PING_INTERVAL_S if is_acknowledged else None,
                ping_timeout=PING_TIMEOUT_S,
                open_timeout=CONNECT_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                proxy=None if is_loopback(url) else True,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            raise ServerUnreachableError(unreachable(self.url, error)) from error


async def _connected(socket: ClientConnection, authentication: str) -> Connect:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await socket.send(authentication)
            message = parse(await socket.recv(), socket)
    except TimeoutError as error:
        raise ServerUnreachableError("the server does not answer the authentication") from error
    except ConnectionClosed as error:
        raise ServerUnreachableError(f"the connection was lost: {error}") from error
    match message:
        case Connect():
            return message
        case ErrorMessage():
            raise refusal(message)
        case _:
            raise ClientError("the server sent something else before CONNECT")


def parse(frame: str | bytes, socket: ClientConnection) -> Message:
    """A message, in the protocol that the socket speaks. Raises `ClientError`."""
    try:
        if socket.subprotocol == SUBPROTOCOL:
            return _EXTENDED.validate_json(frame)
        return _PLAIN.validate_json(frame)
    except ValidationError as error:
        raise ClientError("the server sent a message that cannot be read") from error


def refusal(message: ErrorMessage) -> ServerRefusedError:
    """An ERROR as an error of ours, with the code word of its sentence."""
    word, colon, _rest = message.message.partition(":")
    code = word if colon and word.isalpha() else ""
    return ServerRefusedError(
        f"the server ended the stream: {message.code} {message.message}",
        code=code,
        status=message.code,
    )
