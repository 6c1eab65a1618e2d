"""A websocket peer that may do what a well-behaved one would not: frames by hand (RFC 6455)."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any
from urllib.parse import urlsplit

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PATIENCE_S = 20.0
KEY = base64.b64encode(b"0123456789abcdef")


class Silence(Exception):
    """What had to come did not come in time."""


def frame(opcode: int, payload: bytes, *, is_last: bool = True, is_masked: bool = True) -> bytes:
    """One frame as a client sends it: masked. The mask is zero, so the payload stays readable."""
    marked = 0x80 if is_masked else 0
    size = len(payload)
    if size < 126:
        length = bytes([marked | size])
    elif size < 1 << 16:
        length = bytes([marked | 126]) + struct.pack("!H", size)
    else:
        length = bytes([marked | 127]) + struct.pack("!Q", size)
    mask = b"\0\0\0\0" if is_masked else b""
    return bytes([(0x80 if is_last else 0) | opcode]) + length + mask + payload


def fragments(random: Random, opcode: int, payload: bytes) -> list[bytes]:
    """A message cut at random places, empty pieces among them."""
    cuts = sorted(random.randint(0, len(payload)) for _ in range(random.randint(1, 4)))
    ends = [*cuts, len(payload)]
    starts = [0, *cuts]
    return [
        frame(opcode if at == 0 else CONTINUATION, payload[start:end], is_last=at == len(cuts))
        for at, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def upgrade(target: bytes, *lines: bytes) -> bytes:
    """An upgrade request; ``lines`` take the place of version and key."""
    lines = lines or (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY)
    head = (b"GET " + target + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: Upgrade")
    return b"\r\n".join((*head, b"Upgrade: websocket", *lines, b"", b""))


async def ask(url: str, request: bytes) -> bytes:
    """What is answered to a request, up to the end of its head. Raises `Silence`, `OSError`."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            return await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise Silence(f"no answer to {request[:60]!r}") from error
    finally:
        writer.close()


class Peer:
    """One connection. What the server says is counted while it is read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.said: Counter[str] = Counter()
        self.close_code: int | None = None
        self.ended = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._has_finished = False
        self._changed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, query: str) -> Peer:
        """Open the stream's path. Raises `OSError`, `Silence` when the upgrade is not answered."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        peer = cls(reader, writer)
        await peer.send(upgrade(f"/ws/transcribe/stream?{query}".encode()))
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise Silence("no answer to the upgrade") from error
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Silence(f"the upgrade was refused: {answer[:40]!r}")
        peer._reading = asyncio.create_task(peer._read())
        return peer

    async def send(self, data: bytes) -> None:
        """Write; a connection that the server has ended is noticed by reading."""
        if self._has_finished or self.ended.is_set() or self._writer.is_closing():
            return
        with suppress(OSError):
            self._writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.drain()

    def half_close(self) -> None:
        """Say that nothing more will be sent, below the websocket."""
        self._has_finished = True
        with suppress(OSError):
            self._writer.write_eof()

    async def leave(self, *, rudely: bool = False) -> None:
        """Let go of the connection; rudely: by a reset."""
        if rudely:
            self._writer.transport.abort()
        self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        with suppress(OSError):
            await self._writer.wait_closed()

    async def until(self, count: int, *what: str) -> None:
        """Wait until any of ``what`` was said that often, or the end. Raises `Silence`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while max(self.said[each] for each in what) < count and not self.ended.is_set():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Silence(f"waited for {count} {what}, had {dict(self.said)}") from None

    async def until_ended(self) -> None:
        """Wait until the server has ended the connection. Raises `Silence`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.ended.wait()
        except TimeoutError:
            raise Silence(f"the connection was not ended, had {dict(self.said)}") from None

    async def _read(self) -> None:
        try:
            while True:
                await self.may_read.wait()
                opcode, payload = await self._read_frame()
                await self._note(opcode, payload)
                self._changed.set()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended.set()
            self._changed.set()

    async def _read_frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0x0F, await self._reader.readexactly(size)

    async def _note(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            await self.send(frame(PONG, payload))
        elif opcode == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.said["close"] += 1
            await self.send(frame(CLOSE, payload))
        elif opcode == PONG:
            self.said["pong"] += 1
        else:
            self.said[_name(json.loads(payload))] += 1


def _name(message: dict[str, Any]) -> str:
    if message["event"] != "RESULT":
        return str(message["event"])
    return "final" if message["transcriptions"][0]["isFinal"] else "partial"
