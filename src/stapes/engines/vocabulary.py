"""The pieces of a sentencepiece model, with what each counts for, out of its file.

Such a file is a message of Protocol Buffers. Its field 1, once for every piece, is a message whose
field 1 is the text and whose field 2 is the score. Source: `sentencepiece_model.proto`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from stapes.errors import EngineError

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
"""Wire types. Source: "Encoding", Protocol Buffers documentation."""


def write_vocabulary(model: bytes) -> str:
    """Piece and score of every line, in the order of the pieces' numbers.

    Raises `EngineError` when ``model`` is no such file.
    """
    try:
        pieces = [dict(_fields(value)) for field, value in _fields(model) if field == 1]
        lines = [f"{piece[1].decode()}\t{_float(piece.get(2))}\n" for piece in pieces]
    except (IndexError, KeyError, UnicodeDecodeError, ValueError, struct.error) as error:
        raise EngineError(f"the vocabulary cannot be read: {error!r}") from error
    if not lines:
        raise EngineError("the vocabulary cannot be read: it has no pieces")
    return "".join(lines)


def _float(value: bytes | None) -> float:
    found: float = struct.unpack("<f", value)[0] if value else 0.0
    return found


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field; of a varint nothing is told."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, length = key & 7, 0
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind == LENGTH:
            length, at = _varint(message, at)
        elif kind in {EIGHT_BYTES, FOUR_BYTES}:
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of type {kind}")
        if at + length > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the low ones first, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
