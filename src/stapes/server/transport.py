"""The websocket transport: uvicorn's, with four things that the wire asks for.

It tells a peer why it is closed when a frame is too large (RFC 6455 close 1009 comes with an
``ERROR`` before it), it does not take a peer for dead while we ourselves are not reading or its
data is still coming, it lets the server ping a peer on demand, and it lets go of a peer that takes
nothing any more. And a peer's broken text is no failure of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode

from stapes.errors import PayloadTooLargeError
from stapes.protocol.messages import ErrorMessage

LINGER_S = 2.0
"""How long what a peer still sends is read and dropped after its close frame went out: closing
with unread data would reset the connection and take our last words with it."""

PING = "stapes.ping"
"""Name of the scope extension that holds `Transport.ping`."""

ASK = "stapes.ask"
"""Name of the scope extension that holds `Transport.ask`."""

PONG = "pong"
"""Key of a ``websocket.receive`` that is no message but the answer to `Transport.ask`."""

DROP = "stapes.drop"
"""Name of the scope extension that ends the connection at once, whatever is still unsent."""

FAREWELL = "stapes.farewell"
"""Name of the scope extension that holds `Transport.say_farewell`."""

FAREWELL_S = 5.0
"""How long a peer that read nothing has to read its farewell."""

LET_GO_S = 15.0
"""How long a connection may take to close when it is done with."""

_STILL_THERE = b"still there?"


class Transport(WebSocketsSansIOProtocol):
    """One websocket connection."""

    _heard_at = 0.0
    _lingering = False
    _asked: asyncio.Future[None] | None = None
    _letting_go: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        self._heard_at = self.loop.time()
        if self._lingering:
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # A line or a number of header fields that websockets does not take. It has its
            # answer ready, and nobody else would send it or let go of the peer.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: without a close frame of anybody's, it broke."""
        if self.handshake_complete and self.conn.close_rcvd is None and not self.close_sent:
            self._tell_gone(CloseCode.ABNORMAL_CLOSURE)
        if self._letting_go is not None:
            self._letting_go.cancel()
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        """Serve the connection; when that is done, it ends in any case."""
        await super().run_asgi()
        self._let_go_within(LET_GO_S)

    def _let_go_within(self, seconds: float) -> None:
        # Closing waits until all is sent, and a peer behind a broken network takes nothing.
        if self._letting_go is None and self in self.connections:
            self._letting_go = self.loop.call_later(seconds, self.transport.abort)

    def _tell_gone(self, code: CloseCode) -> None:
        """Tell the application that the peer left without a word; uvicorn has no code for it."""
        gone = {"type": "websocket.disconnect", "code": code.value}
        self.queue.put_nowait(cast(Any, gone))

    def handle_connect(self, event: Any) -> None:
        """The upgrade request: offer `ping` to the application."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions = cast(dict[str, Any], self.scope["extensions"])
            extensions[PING] = self.ping
            extensions[ASK] = self.ask
            extensions[DROP] = self.transport.abort
            extensions[FAREWELL] = self.say_farewell

    def send_receive_event_to_app(self) -> None:
        """A whole message. Text that is no UTF-8 ends the connection (RFC 6455 section 8.1)."""
        is_text = self.curr_msg_data_type == "text" and not self.close_sent
        if not is_text or _is_utf8(b"".join(self.frames)):
            super().send_receive_event_to_app()
            return
        # uvicorn would log this as a failure with a traceback; it is the peer's fault alone.
        self.frames = []
        self.conn.send_close(CloseCode.INVALID_DATA)
        self.handle_parser_exception()

    def keepalive_timeout(self) -> None:
        """No pong in time. A peer whose bytes we do not read, or that sends, is not gone."""
        is_sending = self._heard_at > self.ping_sent_at
        if not (self.read_paused or is_sending):
            if not (self.close_sent or self.transport.is_closing()):
                self._tell_gone(CloseCode.INTERNAL_ERROR)
            super().keepalive_timeout()
            self._let_go_within(FAREWELL_S)
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        self.schedule_ping()

    def handle_pong(self, event: Frame) -> None:
        """A pong: the answer to the keepalive's ping, to `ping` or to `ask`."""
        if bytes(event.data) == _STILL_THERE:
            self.queue.put_nowait(cast(Any, {"type": "websocket.receive", PONG: True}))
            return
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        super().handle_pong(event)

    async def ping(self, timeout_s: float) -> bool:
        """Whether the peer answers a ping, or sends anything, within ``timeout_s``."""
        if self.disconnected or self.transport.is_closing():
            return False
        if self.read_paused:
            return True  # we are the ones who do not listen
        asked_at = self.loop.time()
        if self._asked is None or self._asked.done():
            self._asked = self.loop.create_future()
        self.conn.send_ping(b"here?")
        self.transport.write(b"".join(self.conn.data_to_send()))
        try:
            async with asyncio.timeout(timeout_s):
                # One pong answers all who ask at the time, and none of them ends the others' wait.
                await asyncio.shield(self._asked)
        except TimeoutError:
            return self._heard_at > asked_at
        return True

    def ask(self) -> None:
        """Ping the peer; its pong is received in its place among the messages, with `PONG`.

        Whatever the peer sent before it has then come: what is missing was not sent.
        """
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.conn.send_ping(_STILL_THERE)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def say_farewell(self, texts: Sequence[str], code: int) -> None:
        """Write text frames and a close frame, though the peer reads nothing; then let go of it."""
        if self.close_sent or self.transport.is_closing():
            return
        for text in texts:
            self.conn.send_text(text.encode())
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(FAREWELL_S, self.transport.abort)

    def handle_parser_exception(self) -> None:
        """A frame that breaks the protocol. When it is too large, say so before the close."""
        if not isinstance(self.conn.parser_exc, PayloadTooBig) or not self.handshake_complete:
            super().handle_parser_exception()
            return
        error = PayloadTooLargeError()
        message = ErrorMessage(code=error.status, message=f"{error.code}: {error.public}")
        frame = Frame(Opcode.TEXT, message.encode().encode())
        self.transport.write(frame.serialize(mask=False))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": error.close_code, "reason": ""}
        )
        self.close_sent = True
        self._linger()

    def _linger(self) -> None:
        self._lingering = True
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
