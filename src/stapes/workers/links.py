"""The server's end of a worker's socket: frames become events of the streams they belong to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast

import structlog

from stapes.errors import EngineError, InternalServerError
from stapes.protocol.events import (
    AudioHeard,
    Event,
    PartialArrived,
    RecogniserFailed,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard
from stapes.workers.frames import FrameReader, Kind, Report, decode_report, encode

log = structlog.get_logger("stapes.workers")

Post = Callable[[Event], None]


class Ear:
    """One stream's recogniser in its worker process; events go to the ``post`` it came with."""

    def __init__(self, link: Link, stream: int, post: Post, on_release: Callable[[], None]):
        self._link = link
        self._stream = stream
        self._post = post
        self._on_release = on_release
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def feed(self, audio: bytes) -> None:
        """Give audio. The caller bounds what it feeds ahead of the `AudioHeard` that come back."""
        self._link.send(Kind.AUDIO, self._stream, audio)

    def flush(self) -> None:
        """End the utterance now; one `UtteranceArrived` with ``is_answer`` follows."""
        self._link.send(Kind.FLUSH, self._stream)

    def release(self) -> None:
        """Give the recogniser back. Safe to call twice."""
        self._link.send(Kind.CLOSE, self._stream)
        self._link.forget(self._stream)
        release, self._on_release = self._on_release, _nothing
        release()

    def receive(self, kind: Kind, payload: bytes) -> None:
        """Pass a frame of the worker on as events."""
        if kind is Kind.OPENED:
            if not self.opened.done():
                self.opened.set_result(None)
        elif kind is Kind.HEARD:
            for event in _events(decode_report(payload)):
                self._post(event)
        else:
            self.fail(json.loads(payload))

    def fail(self, cause: str) -> None:
        """The stream's recogniser is gone; the peer is not told why."""
        log.error("recogniser failed", pid=self._link.pid, cause=cause)
        if self.opened.done():
            self._post(RecogniserFailed(InternalServerError(cause)))
        else:
            self.opened.set_exception(EngineError(cause))


def _nothing() -> None:
    pass


def _events(report: Report) -> list[Event]:
    """A report as events, the account of the audio last."""
    events: list[Event] = []
    for index, item in enumerate(report.items, start=1):
        if isinstance(item, PartialHeard):
            events.append(PartialArrived(item))
        else:
            events.append(UtteranceArrived(item, report.is_answer and index == len(report.items)))
    return [*events, AudioHeard(report.audio_bytes, report.speech_ms, report.is_pending)]


class Link(asyncio.Protocol):
    """The socket to one worker process."""

    def __init__(self, pid: int, on_lost: Callable[[Link], None]) -> None:
        self.pid = pid
        self.ears: dict[int, Ear] = {}
        self._on_lost = on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by shape alone

    def data_received(self, data: bytes) -> None:
        """The worker said something: pass it on to the stream it is about."""
        for kind, stream, payload in self._reader.feed(data):
            if ear := self.ears.get(stream):
                ear.receive(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker ended, by itself or because we closed: its streams fail."""
        self._transport = None
        ears, self.ears = self.ears, {}
        for ear in ears.values():
            ear.fail(f"worker process {self.pid} ended")
        self._on_lost(self)

    def send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        """Send a frame about a stream of ours; of any other, nothing is sent."""
        if self._transport is not None and stream in self.ears:
            self._transport.write(encode(kind, stream, payload))

    def forget(self, stream: int) -> None:
        """Hear no more of a stream."""
        self.ears.pop(stream, None)

    def close(self) -> None:
        """End the worker: it ends when its socket does."""
        if self._transport is not None:
            self._transport.close()
