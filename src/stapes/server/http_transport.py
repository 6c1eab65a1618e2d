"""The HTTP/1.1 protocol of a connection: uvicorn's, with bounds on what a peer may send.

uvicorn's httptools protocol has no limit on the head of a request and none on how long one may
take; this adds both. Its own answer to bytes that are no HTTP becomes one of ours. And what
`stapes.server.direct` takes never reaches the ASGI application.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from stapes.server.refusals import REQUEST_ID, new_id

if TYPE_CHECKING:
    from stapes.server.direct import Direct

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

    def __init__(self, direct: Direct, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._direct = direct
        self._head_bytes = 0
        self._pending_bytes = 0
        self._in_head = True
        self._is_whole = False  # nothing is there of a request that has not arrived whole
        self._deadline: asyncio.TimerHandle | None = None
        self._body: bytes | None = None  # of the request that is answered directly
        self._keeps_alive = True  # after that
        self._answered_one = False  # of those in the bytes at hand
        self._answered_at: float | None = None  # directly, and nothing came since; of the loop
        self._quiet_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer has connected."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._request_arrived()
        if self._quiet_timer is not None:
            self._quiet_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; the parser calls the ``on_`` methods from in here."""
        self._is_whole = False
        self._answered_one = False
        self._pending_bytes += len(data)
        super().data_received(data)
        if not self._is_whole and self._deadline is None:
            self._expect_request()
        if self._in_head and self._pending_bytes > LONGEST_HEAD_BYTES:
            self._head_bytes = self._pending_bytes
            if not self.transport.is_closing():
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request has begun."""
        self._answered_at = None
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._is_whole = False
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._head_bytes += len(url)
        if self._head_bytes > LONGEST_HEAD_BYTES:
            raise HeadTooLargeError
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header field."""
        self._head_bytes += len(name) + len(value) + 4  # with ": " and the line's end
        if self._head_bytes > LONGEST_HEAD_BYTES:
            raise HeadTooLargeError
        lowered = name.lower()
        if lowered == b"expect":
            super().on_header(name, value)
        else:  # all that uvicorn does with any other, without a call for each
            self.headers.append((lowered, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._pending_bytes = 0
        if self._is_free() and self._direct.takes(self.parser.get_method(), self.url, self.headers):
            self._body = b""
            self._keeps_alive = (
                self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            )
        else:
            self._make_scope()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """The request is there, body and all."""
        self._request_arrived()
        self._is_whole = True
        self._in_head = True
        self._pending_bytes = 0
        if self._body is None:
            super().on_message_complete()
        else:
            body, self._body = self._body, None
            self._answer(body)

    def shutdown(self) -> None:
        """The server stops: a request that has begun is answered, and none after it."""
        if self._body is None:
            super().shutdown()
        else:
            self._keeps_alive = False

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

    def _is_free(self) -> bool:
        """Whether the request at hand may be answered before anything else is done.

        Answers go out in the order of the requests, and the application may be at an earlier one.
        A peer that does not read its answers, or waits for a 100, is the application's too: it
        can wait. And of many requests at once only the first goes ahead, or the others' peers
        would have to wait until all are answered.
        """
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self._answered_one
            and not self.flow.write_paused
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def _answer(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        self._answered_one = True
        peer = self.client[0] if self.client else ""
        answer = self._direct.answer(self.url, self.headers, body, peer)
        fields = [*self.server_state.default_headers, *answer.headers]
        if not self._keeps_alive:
            fields.append((b"connection", b"close"))
        head = b"".join([b"%s: %s\r\n" % field for field in fields])
        self.transport.write(STATUS_LINE[answer.status] + head + b"\r\n" + answer.body)
        self.server_state.total_requests += 1
        if not self._keeps_alive:
            self.transport.close()
            return
        self._answered_at = self.loop.time()
        if self._quiet_timer is None:
            self._wait_for_quiet(self.timeout_keep_alive)

    def _wait_for_quiet(self, seconds: float) -> None:
        # A timer for each answer, as uvicorn sets them, is called off before it ever rings.
        self._quiet_timer = self.loop.call_later(seconds, self._end_if_quiet)

    def _end_if_quiet(self) -> None:
        """Close a connection on which nothing came since the last direct answer."""
        self._quiet_timer = None
        if self._answered_at is None:
            return
        left_s = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._wait_for_quiet(left_s)
        else:
            self.transport.close()

    def _make_scope(self) -> None:
        """Make the ASGI scope, as uvicorn does at a request's first byte."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        # The scope's path and query are those of the target as it is understood: without an
        # authority, a fragment, an empty query. A signature covers what was sent.
        extensions: dict[str, Any] = {TARGET: url}
        self.scope["extensions"] = extensions

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(LONGEST_REQUEST_S, self._give_up)

    def _request_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()
