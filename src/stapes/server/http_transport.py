"""The HTTP/1.1 protocol of a connection: uvicorn's, with bounds on what a peer may send.

uvicorn's httptools protocol has no limit on the head of a request and none on how long one may
take; this adds both. Its own answer to bytes that are no HTTP becomes one of ours.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stapes.server.refusals import REQUEST_ID, new_id

LONGEST_HEAD_BYTES = 32 * 1024
LONGEST_REQUEST_S = 20.0
TARGET = "stapes.target"
"""Name of the scope extension that holds the request target as it was sent."""

_CANNOT_PARSE = b'{"code":"CannotParseRequest","message":"The request is not valid HTTP."}'
_HEAD_TOO_LARGE = (
    b'{"code":"RequestHeaderFieldsTooLarge","message":"The request head is larger than allowed."}'
)


class HeadTooLargeError(Exception):
    """Raised inside the parser's callbacks, to stop it."""


class HttpTransport(HttpToolsProtocol):
    """One HTTP connection.

    A head over ``LONGEST_HEAD_BYTES`` (request line and header fields) is answered 431 and the
    connection closed, also when it never ends. A request that has not arrived whole after
    ``LONGEST_REQUEST_S`` ends its connection, and so does one that never begins.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._pending_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer has connected."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._request_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; the parser calls the ``on_`` methods from in here."""
        if self._deadline is None:
            self._expect_request()
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._pending_bytes > LONGEST_HEAD_BYTES:
            self._head_bytes = self._pending_bytes
            if not self.transport.is_closing():
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request has begun."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header field."""
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._pending_bytes = 0
        # The scope's path and query are those of the target as it is understood: without an
        # authority, a fragment, an empty query. A signature covers what was sent.
        extensions: dict[str, Any] = {TARGET: self.url}
        self.scope["extensions"] = extensions
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there, body and all."""
        self._request_arrived()
        self._in_head = True
        self._pending_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser cannot go on with, and close."""
        too_large = self._head_bytes > LONGEST_HEAD_BYTES
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
        body = _HEAD_TOO_LARGE if too_large else _CANNOT_PARSE
        fields = [
            *self.server_state.default_headers,
            (REQUEST_ID.encode(), new_id().encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % field for field in fields)
        line = b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode())
        self.transport.write(line + head + b"\r\n" + body)
        self.transport.close()

    def _count(self, head_bytes: int) -> None:
        self._head_bytes += head_bytes
        if self._head_bytes > LONGEST_HEAD_BYTES:
            raise HeadTooLargeError

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(LONGEST_REQUEST_S, self._give_up)

    def _request_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()
