"""The audio encodings of the wire, and how their bytes become samples.

Sources: the ``encoding`` parameter of OCI AI Speech realtime ("Speech API 20220101"); ITU-T G.711
(11/88) tables 1a/1b (A-law) and 2a/2b (mu-law), scaled to 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stapes.errors import InvalidParameterError

Codec = Literal["pcm", "mulaw", "alaw"]
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding: mono, ``pcm`` is signed 16-bit little-endian, the others one byte a sample."""

    rate_hz: int
    codec: Codec
    bytes_per_sample: int

    def bytes_to_ms(self, count: int) -> int:
        """Whole ms that ``count`` bytes last."""
        return count // self.bytes_per_sample * 1000 // self.rate_hz

    def ms_to_bytes(self, ms: int) -> int:
        """Bytes of the whole samples that lie within ``ms``."""
        return ms * self.rate_hz // 1000 * self.bytes_per_sample


ENCODINGS = {
    "audio/raw;rate=16000": Encoding(16000, "pcm", 2),
    "audio/raw;rate=8000": Encoding(8000, "pcm", 2),
    "audio/raw;rate=8000;codec=mulaw": Encoding(8000, "mulaw", 1),
    "audio/raw;rate=8000;codec=alaw": Encoding(8000, "alaw", 1),
}


def parse_encoding(text: str) -> Encoding:
    """Read the ``encoding`` parameter, whatever its case and the spaces around its semicolons.

    Raises `InvalidParameterError` that lists what is allowed.
    """
    name = ";".join(part.strip() for part in text.casefold().split(";"))
    encoding = ENCODINGS.get(name)
    if encoding is None:
        raise InvalidParameterError(f"encoding must be one of: {', '.join(ENCODINGS)}")
    return encoding


def _mulaw_table() -> Pcm:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Pcm:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = code >> 4 & 7
    step = ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent == 0, step, step + 0x100 << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


MULAW = _mulaw_table()
ALAW = _alaw_table()


class Decoder:
    """Turns the bytes of one stream into samples, however the bytes are cut."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.half = b""  # of a sample, that waits

    def decode(self, audio: bytes) -> Pcm:
        """Samples of shape ``(n,)``; half a sample at the end waits for its other half."""
        match self.encoding.codec:
            case "mulaw":
                return MULAW[np.frombuffer(audio, np.uint8)]
            case "alaw":
                return ALAW[np.frombuffer(audio, np.uint8)]
            case "pcm":
                audio = self.half + audio
                whole = len(audio) // 2 * 2
                self.half = audio[whole:]
                return np.frombuffer(audio[:whole], "<i2").astype(np.int16)
