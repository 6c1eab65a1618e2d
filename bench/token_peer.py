"""Load on the token endpoint: many connections that each ask, wait for the answer, and ask again.

Requests are signed beforehand, so that a signature costs the server a verification and this process
next to nothing. Runs as a process of its own: ``python -m bench.token_peer``, a JSON object in and
one out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Tally:
    """What came back: how many answers were 200, and how long each took, s."""

    answers: int = 0
    refused: int = 0
    latencies_s: list[float] = field(default_factory=list)


class Peer(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, tally: Tally) -> None:
        """Nothing asked yet."""
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[None] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server accepted."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole."""
        self._received += data
        head, found, body = self._received.partition(HEAD_END)
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        is_good = head.startswith(b"HTTP/1.1 200")
        self._tally.answers += is_good
        self._tally.refused += not is_good
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionError("the server closed"))

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for its answer."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


async def ask_for(  # noqa: PLR0917
    host: str, port: int, requests: list[bytes], connections: int, seconds: float, rate: float
) -> dict[str, Any]:
    """Ask for ``seconds``: as fast as answers come, or ``rate`` times a second when not 0.

    At a rate, a request's latency counts from when it was due, so that one that had to wait for a
    free connection is not taken for a fast one.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    peers = [
        (await loop.create_connection(lambda: Peer(tally), host, port))[1]
        for _ in range(connections)
    ]
    source = cycle(requests)
    begin = time.perf_counter()
    due = _moments(begin, seconds, rate)

    async def work(peer: Peer) -> None:
        for at in due:
            wait_s = at - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await peer.ask(next(source))
            tally.latencies_s.append(time.perf_counter() - at)

    await asyncio.gather(*(work(peer) for peer in peers))
    took_s = time.perf_counter() - begin
    return {
        "answers": tally.answers,
        "refused": tally.refused,
        "seconds": took_s,
        "latencies_ms": sorted(round(1000 * each, 3) for each in tally.latencies_s),
    }


def _moments(begin: float, seconds: float, rate: float) -> Iterator[float]:
    """When requests are due; shared by all connections."""
    if rate:
        yield from (begin + number / rate for number in range(int(seconds * rate)))
        return
    while (now := time.perf_counter()) < begin + seconds:
        yield now


def main() -> None:
    """Read what is asked for from standard input, print what came."""
    asked = json.load(sys.stdin)
    asked["requests"] = [b64decode(request) for request in asked["requests"]]
    print(json.dumps(asyncio.run(ask_for(**asked))))


if __name__ == "__main__":
    main()
