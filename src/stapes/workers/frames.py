"""What a server and its worker processes say to each other, and how it is framed.

A frame is a kind (1 byte), a stream number (4 bytes), a length (4 bytes), all big-endian, and
that many bytes: audio as it came from the peer, or JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.words import Word

HEADER = struct.Struct(">BII")


class Kind(IntEnum):
    """Kinds of frames; the first four go to the worker, the others come from it."""

    OPEN = 1
    AUDIO = 2
    FLUSH = 3
    CLOSE = 4
    OPENED = 5
    HEARD = 6
    FAILED = 7


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says after every piece of audio or flush.

    Attributes:
        items: what was heard, in order.
        is_answer: the last item answers a flush.
        audio_bytes: how much of the audio was taken in by this.
        speech_ms: how much speech was in it.
        is_pending: an utterance has begun and has no final yet.
    """

    items: tuple[PartialHeard | UtteranceHeard, ...]
    is_answer: bool
    audio_bytes: int
    speech_ms: int
    is_pending: bool


def encode(kind: Kind, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEADER.pack(kind, stream, len(payload)) + payload


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, int, bytes]]:
        """Take in bytes; yield every frame that is complete."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            kind, stream, length = HEADER.unpack_from(self._buffer)
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield Kind(kind), stream, payload


def encode_params(params: ListenerParams) -> bytes:
    """Payload of an OPEN frame."""
    return json.dumps(asdict(params)).encode()


def decode_params(payload: bytes) -> ListenerParams:
    """Parameters of an OPEN frame."""
    given = json.loads(payload)
    hearing = given["hearing"]
    heard_with = HearingParams(**{**hearing, "phrases": tuple(hearing["phrases"])})
    return ListenerParams(**{**given, "hearing": heard_with})


def encode_report(report: Report) -> bytes:
    """Payload of a HEARD frame."""
    items = [_encode_item(item) for item in report.items]
    counts = [report.is_answer, report.audio_bytes, report.speech_ms, report.is_pending]
    return json.dumps([items, *counts], separators=(",", ":")).encode()


def decode_report(payload: bytes) -> Report:
    """The report of a HEARD frame."""
    items, is_answer, audio_bytes, speech_ms, is_pending = json.loads(payload)
    heard = tuple(_decode_item(item) for item in items)
    return Report(heard, is_answer, audio_bytes, speech_ms, is_pending)


def _encode_item(item: PartialHeard | UtteranceHeard) -> list[Any]:
    words = [[word.text, word.start_ms, word.end_ms, word.confidence] for word in item.words]
    if isinstance(item, PartialHeard):
        return [words, item.silence_ms]
    times = [item.trailing_silence_ms, item.start_ms, item.end_ms, item.through_ms]
    return [words, *times]


def _decode_item(item: Sequence[Any]) -> PartialHeard | UtteranceHeard:
    words = tuple(Word(*word) for word in item[0])
    if len(item) == 2:
        return PartialHeard(words, item[1])
    return UtteranceHeard(words, *item[1:])
