"""A worker process: owns the recognisers of one or more streams, and serves one socket.

Streams are heard in lockstep: each goes on until its recogniser has a turn, then all the turns are
taken, together where the engine can. On the way there, voice activity judges the next windows of
all streams together. What a stream hears does not depend on who else is there.
"""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

from stapes.audio.segments import Look
from stapes.engines.hearing import Ask, Listener, Punctuator
from stapes.engines.port import BatchEngine, Engine, Segment, Turn
from stapes.engines.silero import judge_together
from stapes.protocol.events import Checkpoint
from stapes.protocol.heard import Heard, UtteranceHeard
from stapes.workers.frames import (
    FrameReader,
    Kind,
    Report,
    decode_opening,
    encode,
    encode_report,
)

RECEIVED_BYTES = 1 << 18
"""All that a socket can hold is taken before a step, so that the batches are full."""

Asked = TypeVar("Asked", Look, Turn)

SLICE_BYTES = 6400
"""Audio is heard in pieces of at most this (200 ms at 16 kHz), so that results of a large frame
come as they are heard. Even, so that no sample is cut."""

CHECKPOINT_BYTES = 64_000
"""Without an utterance, the server is told after so much audio (2 s at 16 kHz) that recognition can
begin again there."""

NICENESS = 5
"""Workers give way to the server, which has to answer sockets while they decode."""


def serve(
    engine: Engine, connection: socket.socket, punctuators: Sequence[Punctuator] = ()
) -> None:
    """Serve frames until the other side closes. Never raises: a stream that fails is reported."""
    os.nice(NICENESS)
    worker = Worker(engine, connection, punctuators)
    reader = FrameReader()
    while (data := _receive(connection, wait=not worker.busy)) != b"":
        for kind, stream, payload in reader.feed(data or b""):
            worker.take(kind, stream, payload)
        worker.step()


def _receive(connection: socket.socket, *, wait: bool) -> bytes | None:
    """What has come; nothing (None) when there is none and it is not to be waited for."""
    try:
        return connection.recv(RECEIVED_BYTES, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


class Worker:
    """The streams of one socket."""

    def __init__(
        self, engine: Engine, connection: socket.socket, punctuators: Sequence[Punctuator] = ()
    ) -> None:
        self._engine = engine
        self._batches = engine if isinstance(engine, BatchEngine) else None
        self._connection = connection
        self._punctuators = punctuators
        self._streams: dict[int, _Stream] = {}

    @property
    def busy(self) -> bool:
        """Whether a stream has audio that is not heard yet."""
        return any(stream.busy for stream in self._streams.values())

    def take(self, kind: Kind, number: int, payload: bytes) -> None:
        """Do what one frame asks for, or keep it for the next steps."""
        if kind is Kind.OPEN:
            self._open(number, payload)
        elif stream := self._streams.get(number):
            if kind is Kind.CLOSE:
                self._close(stream)
            else:
                stream.put(kind, payload)

    def step(self) -> None:
        """Bring every stream to its next turn, and take the turns."""
        for stream in list(self._streams.values()):
            if stream.busy and stream.asks is None:
                self._advance(stream, None)
        while looks := [(s, s.asks) for s in self._streams.values() if isinstance(s.asks, Look)]:
            self._answer(looks, judge_together)
        turns = [(s, s.asks) for s in self._streams.values() if isinstance(s.asks, Turn)]
        if turns:
            self._answer(turns, self._batches.take_together if self._batches else _one_by_one)

    def _answer(
        self,
        asking: Sequence[tuple[_Stream, Asked]],
        take: Callable[[Sequence[Asked]], Sequence[Any]],
    ) -> None:
        """Take what was asked for, and let the streams go on with it."""
        try:
            answers = take([ask for _, ask in asking])
        except Exception as error:
            answers = [error] * len(asking)
        for (stream, _), answer in zip(asking, answers, strict=True):
            self._advance(stream, answer)

    def _advance(self, stream: _Stream, answer: Any) -> None:
        """Let a stream go on; a failure ends it alone."""
        try:
            if isinstance(answer, Exception):
                raise answer
            stream.advance(answer)
        except Exception:  # the boundary of a stream: whatever broke, the others go on
            self._fail(stream.number)
            self._close(stream)

    def _open(self, number: int, payload: bytes) -> None:
        try:
            params, checkpoint = decode_opening(payload)
            listener = Listener(
                self._engine, params, checkpoint=checkpoint, punctuators=self._punctuators
            )
        except Exception:
            self._fail(number)
        else:
            self._streams[number] = _Stream(number, listener, self._report)
            self._send(Kind.OPENED, number)

    def _close(self, stream: _Stream) -> None:
        del self._streams[stream.number]
        stream.listener.close()

    def _report(self, number: int, report: Report) -> None:
        self._send(Kind.HEARD, number, encode_report(report))

    def _fail(self, number: int) -> None:
        self._send(Kind.FAILED, number, json.dumps(traceback.format_exc(limit=-6)).encode())

    def _send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        self._connection.sendall(encode(kind, stream, payload))


class _Stream:
    """One stream: what waits to be heard, and what it ``asks`` for before that."""

    def __init__(
        self, number: int, listener: Listener, report: Callable[[int, Report], None]
    ) -> None:
        self.number = number
        self.listener = listener
        self.asks: Ask | None = None
        self._report = report
        self._waiting: deque[tuple[Kind, bytes]] = deque()
        self._hearing = self._hear()
        self._checkpoint_byte = listener.checkpoint_byte

    @property
    def busy(self) -> bool:
        """Whether there is something to hear."""
        return bool(self._waiting) or self.asks is not None

    def put(self, kind: Kind, payload: bytes) -> None:
        """Keep audio, or the end of an utterance, for later."""
        pieces = [payload] if kind is Kind.FLUSH else _slices(payload)
        self._waiting.extend((kind, piece) for piece in pieces)

    def advance(self, answer: Any) -> None:
        """Go on, with the answer to what it asked if it did, until it asks again or the end."""
        if self.asks is None:
            self._hearing = self._hear()
        try:
            self.asks = self._hearing.send(answer)
        except StopIteration:
            self.asks = None

    def _hear(self) -> Generator[Ask, Any, None]:
        """Hear all that waits, and report each piece."""
        while self._waiting:
            kind, piece = self._waiting.popleft()
            speech_ms = self.listener.speech_ms
            is_flush = kind is Kind.FLUSH
            items = yield from self.listener.end() if is_flush else self.listener.listen(piece)
            report = Report(
                tuple(items),
                is_answer=is_flush,
                audio_bytes=len(piece),
                speech_ms=self.listener.speech_ms - speech_ms,
                is_pending=self.listener.pending,
                checkpoint=self._checkpoint(items),
            )
            self._report(self.number, report)

    def _checkpoint(self, items: Sequence[Heard]) -> Checkpoint | None:
        """The newest one, behind every utterance, and now and then where there is none."""
        has_ended = any(isinstance(item, UtteranceHeard) for item in items)
        further = self.listener.checkpoint_byte - self._checkpoint_byte
        if not has_ended and further < CHECKPOINT_BYTES:
            return None
        checkpoint = self.listener.checkpoint()
        self._checkpoint_byte = checkpoint.audio_bytes
        return checkpoint


def _one_by_one(turns: Sequence[Turn]) -> Sequence[Sequence[Segment] | Exception]:
    """For engines that take no batches; a failure is that of one stream."""
    return [_taken(turn) for turn in turns]


def _taken(turn: Turn) -> Sequence[Segment] | Exception:
    try:
        return turn.take()
    except Exception as error:
        return error


def _slices(audio: bytes) -> Iterator[bytes]:
    for start in range(0, len(audio), SLICE_BYTES):
        yield audio[start : start + SLICE_BYTES]
