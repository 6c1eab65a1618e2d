"""What a server and its worker processes say to each other, and how it is framed.

A frame is a kind (1 byte), a stream number (4 bytes), a length (4 bytes), all big-endian, and
that many bytes: audio as it came from the peer, or JSON.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.protocol.events import Checkpoint
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
        checkpoint: where recognition can begin again, behind all of this.
    """

    items: tuple[PartialHeard | UtteranceHeard, ...]
    is_answer: bool
    audio_bytes: int
    speech_ms: int
    is_pending: bool
    checkpoint: Checkpoint | None = None


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


def encode_opening(params: ListenerParams, checkpoint: Checkpoint | None = None) -> bytes:
    """Payload of an OPEN frame: a stream from its begin, or from a checkpoint."""
    return json.dumps([asdict(params), _encode_checkpoint(checkpoint)]).encode()


def decode_opening(payload: bytes) -> tuple[ListenerParams, Checkpoint | None]:
    """Parameters and checkpoint of an OPEN frame."""
    given, checkpoint = json.loads(payload)
    hearing = given["hearing"]
    heard_with = HearingParams(**{**hearing, "phrases": tuple(hearing["phrases"])})
    return ListenerParams(**{**given, "hearing": heard_with}), _decode_checkpoint(checkpoint)


def encode_report(report: Report) -> bytes:
    """Payload of a HEARD frame."""
    items = [_encode_item(item) for item in report.items]
    counts = [report.is_answer, report.audio_bytes, report.speech_ms, report.is_pending]
    checkpoint = _encode_checkpoint(report.checkpoint)
    return json.dumps([items, *counts, checkpoint], separators=(",", ":")).encode()


def decode_report(payload: bytes) -> Report:
    """The report of a HEARD frame."""
    items, is_answer, audio_bytes, speech_ms, is_pending, checkpoint = json.loads(payload)
    heard = tuple(_decode_item(item) for item in items)
    known = _decode_checkpoint(checkpoint)
    return Report(heard, is_answer, audio_bytes, speech_ms, is_pending, known)


def _encode_checkpoint(checkpoint: Checkpoint | None) -> list[Any] | None:
    if checkpoint is None:
        return None
    return [checkpoint.audio_bytes, b64encode(checkpoint.state).decode()]


def _decode_checkpoint(given: Sequence[Any] | None) -> Checkpoint | None:
    return None if given is None else Checkpoint(given[0], b64decode(given[1]))


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
