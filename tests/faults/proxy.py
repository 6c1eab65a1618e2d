"""A TCP proxy that does to connections what networks do, at chosen bytes. It reorders nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import urlsplit

READ_BYTES = 65_536
LINGER_RESET = struct.pack("ii", 1, 0)

Kind = Literal["cut", "half-close", "black-hole", "delay", "throttle", "fragment"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one connection, once.

    Attributes:
        at_byte: of what the client sends, from 0 and with the upgrade; with ``is_answer``, of what
            the server sends. A fault at a byte that is never sent does not happen.
        delay_s: how long a ``delay`` lasts.
        bytes_per_s: what a ``throttle`` lets through from there on.
        longest_piece: of a ``fragment``, bytes; each piece is a write of its own.
    """

    kind: Kind
    at_byte: int = 0
    is_answer: bool = False
    delay_s: float = 0.5
    bytes_per_s: int = 200_000
    longest_piece: int = 97


class Proxy:
    """Passes connections on to a server. Each takes the next of ``faults``; then none has any.

    Attributes:
        faults: still to come, in the order of the connections.
        happened: those that have come about.
        connections: how many there were.
    """

    def __init__(self, server_url: str, faults: Sequence[Fault | None] = ()) -> None:
        place = urlsplit(server_url)
        self._place = (place.hostname, place.port)
        self.url = ""
        self.faults = deque(faults)
        self.happened: list[Fault] = []
        self.connections = 0
        self._random = random.Random(8)
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    def cut_all(self) -> None:
        """Reset every connection."""
        for writers in self._open.values():
            _reset(*writers)

    def cut_oldest(self) -> None:
        """Reset the connection that was opened before all others."""
        for writers in list(self._open.values())[:1]:
            _reset(*writers)

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, in a task of its own."""
        self.connections += 1
        fault = self.faults.popleft() if self.faults else None
        task = asyncio.create_task(self._serve(fault, reader, writer))
        self._open[task] = (writer,)

    async def _serve(
        self, fault: Fault | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._place)
            self._open[task] = (writer, far_writer)
            await self._join(fault, (reader, writer), (far_reader, far_writer))
        except OSError:
            pass
        finally:
            _reset(*self._open.pop(task))

    async def close(self) -> None:
        """End every connection and wait for it."""
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(
        self,
        fault: Fault | None,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        up, down = (fault, None) if fault and not fault.is_answer else (None, fault)
        way = _Way(self, (near[1], far[1]))
        async with asyncio.TaskGroup() as group:
            group.create_task(way.pass_on(near[0], far[1], up))
            group.create_task(way.pass_on(far[0], near[1], down))

    def pieces(self, data: bytes, longest: int) -> Iterator[bytes]:
        """Data in pieces of random lengths."""
        at = 0
        while at < len(data):
            size = self._random.randint(1, longest)
            yield data[at : at + size]
            at += size


class _Way:
    """Both directions of one connection."""

    def __init__(self, proxy: Proxy, writers: tuple[asyncio.StreamWriter, ...]) -> None:
        self._proxy = proxy
        self._writers = writers
        self._is_black = asyncio.Event()
        self._bytes_per_s: int | None = None
        self._longest_piece: int | None = None

    async def pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        passed = 0
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if fault is not None and passed + len(data) > fault.at_byte:
                    head, data = data[: fault.at_byte - passed], data[fault.at_byte - passed :]
                    await self._write(writer, head)
                    if not await self._happen(fault, writer):
                        return
                    fault = None
                    passed += len(head)
                passed += len(data)
                await self._write(writer, data)
            writer.write_eof()
        if reader.exception() is not None:
            _reset(*self._writers)

    async def _happen(self, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """Let the fault happen; whether this direction goes on after it."""
        self._proxy.happened.append(fault)
        match fault.kind:
            case "cut":
                _reset(*self._writers)
                return False
            case "half-close":
                writer.write_eof()
                return False
            case "black-hole":
                self._is_black.set()
                await asyncio.Event().wait()
            case "delay":
                await asyncio.sleep(fault.delay_s)
            case "throttle":
                self._bytes_per_s = fault.bytes_per_s
            case "fragment":
                self._longest_piece = fault.longest_piece
        return True

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self._is_black.is_set():
            await asyncio.Event().wait()
        longest = self._longest_piece or (self._bytes_per_s or READ_BYTES * 20) // 20
        for piece in self._proxy.pieces(data, longest) if self._is_slow else [data]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(len(piece) / self._bytes_per_s if self._bytes_per_s else 0)

    @property
    def _is_slow(self) -> bool:
        return self._longest_piece is not None or self._bytes_per_s is not None


@asynccontextmanager
async def proxy(server_url: str, *faults: Fault | None) -> AsyncIterator[Proxy]:
    """A proxy before a server, at a port of loopback; its connections end with the block."""
    passing = Proxy(server_url, faults)
    listener = await asyncio.start_server(passing.take, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    passing.url = f"http://{host}:{port}"
    try:
        yield passing
    finally:
        listener.close()
        await passing.close()
        await listener.wait_closed()


def _reset(*writers: asyncio.StreamWriter) -> None:
    """End connections with a reset, so that nothing that is on its way arrives."""
    for writer in writers:
        found = writer.get_extra_info("socket")
        if found is not None and found.fileno() >= 0:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        writer.transport.abort()
