"""A worker process: owns the recognisers of one or more streams, and serves one socket."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Iterator

from stapes.engines.hearing import Listener, ListenerParams
from stapes.engines.port import Engine
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.workers.frames import (
    FrameReader,
    Kind,
    Report,
    decode_params,
    encode,
    encode_report,
)

SLICE_BYTES = 6400
"""Audio is heard in pieces of at most this (200 ms at 16 kHz), so that results of a large frame
come as they are heard. Even, so that no sample is cut."""

NICENESS = 5
"""Workers give way to the server, which has to answer sockets while they decode."""


def serve(engine: Engine, connection: socket.socket) -> None:
    """Serve frames until the other side closes. Never raises: a stream that fails is reported."""
    os.nice(NICENESS)
    worker = _Worker(engine, connection)
    reader = FrameReader()
    while data := connection.recv(65536):
        for kind, stream, payload in reader.feed(data):
            worker.take(kind, stream, payload)


class _Worker:
    def __init__(self, engine: Engine, connection: socket.socket) -> None:
        self._engine = engine
        self._connection = connection
        self._listeners: dict[int, Listener] = {}

    def take(self, kind: Kind, stream: int, payload: bytes) -> None:
        """Do what one frame asks for; a failure ends its stream alone."""
        try:
            self._take(kind, stream, payload)
        except Exception:  # the boundary of a stream: whatever broke, the others go on
            self._close(stream)
            self._send(Kind.FAILED, stream, json.dumps(traceback.format_exc(limit=-6)).encode())

    def _take(self, kind: Kind, stream: int, payload: bytes) -> None:
        if kind is Kind.OPEN:
            self._open(stream, decode_params(payload))
        elif kind is Kind.CLOSE:
            self._close(stream)
        elif listener := self._listeners.get(stream):
            pieces = [payload] if kind is Kind.FLUSH else _slices(payload)
            for piece in pieces:
                self._hear(stream, listener, kind, piece)

    def _open(self, stream: int, params: ListenerParams) -> None:
        self._listeners[stream] = Listener(self._engine, params)
        self._send(Kind.OPENED, stream)

    def _close(self, stream: int) -> None:
        if listener := self._listeners.pop(stream, None):
            listener.close()

    def _hear(self, stream: int, listener: Listener, kind: Kind, piece: bytes) -> None:
        speech_ms = listener.speech_ms
        items: list[PartialHeard | UtteranceHeard]
        items = listener.flush() if kind is Kind.FLUSH else listener.accept(piece)
        report = Report(
            tuple(items),
            is_answer=kind is Kind.FLUSH,
            audio_bytes=len(piece),
            speech_ms=listener.speech_ms - speech_ms,
            is_pending=listener.pending,
        )
        self._send(Kind.HEARD, stream, encode_report(report))

    def _send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        self._connection.sendall(encode(kind, stream, payload))


def _slices(audio: bytes) -> Iterator[bytes]:
    for start in range(0, len(audio), SLICE_BYTES):
        yield audio[start : start + SLICE_BYTES]
