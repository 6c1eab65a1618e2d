"""The server's end of a worker's socket, and of the streams that the worker hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Protocol, cast

import structlog

from stapes.errors import EngineError
from stapes.workers.frames import FrameReader, Kind, Report, decode_report, encode

log = structlog.get_logger("stapes.workers")


class Owner(Protocol):
    """Who a stream in a worker belongs to."""

    @property
    def is_suspect(self) -> bool:
        """Whether a worker died of late while it heard this stream."""
        ...

    def take_report(self, report: Report) -> None:
        """The worker has heard something."""
        ...

    def lose(self, cause: str) -> None:
        """The worker, or its recogniser, is gone."""
        ...


class Line:
    """One stream's recogniser in a worker process."""

    def __init__(self, link: Link, stream: int, owner: Owner) -> None:
        self.owner = owner
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.owed_bytes = 0
        self.owed_answers = 0
        self.link = link
        self._stream = stream

    @property
    def is_waiting(self) -> bool:
        """Whether the worker has something to say about the stream."""
        return not self.opened.done() or self.owed_bytes > 0 or self.owed_answers > 0

    def feed(self, audio: bytes) -> None:
        """Give audio."""
        self.link.send(Kind.AUDIO, self._stream, audio)
        self.owed_bytes += len(audio)

    def flush(self) -> None:
        """End the utterance now; a report that is an answer follows."""
        self.link.send(Kind.FLUSH, self._stream)
        self.owed_answers += 1

    def close(self) -> None:
        """Give the recogniser back. Safe to call twice."""
        self.link.send(Kind.CLOSE, self._stream)
        self.link.forget(self._stream)

    def receive(self, kind: Kind, payload: bytes) -> None:
        """Pass a frame of the worker on."""
        if kind is Kind.OPENED:
            if not self.opened.done():
                self.opened.set_result(None)
        elif kind is Kind.HEARD:
            report = decode_report(payload)
            self.owed_bytes -= report.audio_bytes
            self.owed_answers -= report.is_answer
            self.owner.take_report(report)
        else:
            self.link.forget(self._stream)
            self.fail(json.loads(payload))

    def fail(self, cause: str) -> None:
        """The recogniser is gone; nothing more comes from it."""
        log.error("recogniser failed", pid=self.link.pid, cause=cause)
        if self.opened.done():
            self.owner.lose(cause)
        else:
            self.opened.set_exception(EngineError(cause))


class Link(asyncio.Protocol):
    """The socket to one worker process."""

    def __init__(self, pid: int, resident_bytes: int, on_lost: Callable[[Link], None]) -> None:
        self.pid = pid
        self.resident_bytes = resident_bytes  # when it was forked
        self.lines: dict[int, Line] = {}
        self.leaving = False
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._said_at = time.monotonic()

    @property
    def has_suspect(self) -> bool:
        """Whether it may soon die of a stream."""
        return any(line.owner.is_suspect for line in self.lines.values())

    @property
    def silent_s(self) -> float:
        """How long it has had something to say and has not said anything; 0: it has nothing."""
        is_due = self.leaving or any(line.is_waiting for line in self.lines.values())
        return time.monotonic() - self._said_at if is_due else 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape alone

    def data_received(self, data: bytes) -> None:
        """The worker said something: pass it on to the stream it is about."""
        self._said_at = time.monotonic()
        for kind, stream, payload in self._reader.feed(data):
            if line := self.lines.get(stream):
                line.receive(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker ended, by itself or because we closed: its streams lose it."""
        self._transport = None
        lines, self.lines = self.lines, {}
        self._on_lost(self)
        for line in lines.values():
            line.fail(f"worker process {self.pid} ended")

    def open(self, stream: int, owner: Owner, opening: bytes) -> Line:
        """Ask for a recogniser; it is there when `Line.opened` is done. Raises `EngineError`."""
        if self._transport is None:
            raise EngineError(f"worker process {self.pid} has ended")
        line = Line(self, stream, owner)
        self._note_wish()
        self.lines[stream] = line
        self.send(Kind.OPEN, stream, opening)
        return line

    def send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        """Send a frame about a stream of ours; of any other, nothing is sent."""
        if self._transport is not None and stream in self.lines:
            self._note_wish()
            self._transport.write(encode(kind, stream, payload))

    def forget(self, stream: int) -> None:
        """Hear no more of a stream."""
        self.lines.pop(stream, None)

    def dismiss(self) -> None:
        """Let the worker end. The socket stays until it has: so long, its pid is its own."""
        if self._transport is not None and not self.leaving:
            self.leaving = True
            self._said_at = time.monotonic()
            self._transport.write_eof()

    def close(self) -> None:
        """Hear no more of the worker."""
        if self._transport is not None:
            self._transport.close()

    def _note_wish(self) -> None:
        """Its silence counts from when there was something to say."""
        if not self.silent_s:
            self._said_at = time.monotonic()
