"""Encodings of the wire and their samples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.audio.encodings import ALAW, ENCODINGS, MULAW, Decoder, Encoding, parse_encoding
from stapes.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("audio/raw;rate=16000", Encoding(16000, "pcm", 2)),
        ("audio/raw;rate=8000", Encoding(8000, "pcm", 2)),
        ("AUDIO/RAW; Rate=8000 ;codec=MULAW", Encoding(8000, "mulaw", 1)),
        ("audio/raw;rate=8000;  codec=alaw", Encoding(8000, "alaw", 1)),
    ],
)
def test_parse(text: str, expected: Encoding) -> None:
    """The four encodings are read whatever their case and spaces."""
    assert parse_encoding(text) == expected


@pytest.mark.parametrize(
    "text", ["", "audio/raw", "audio/raw;rate=44100", "audio/raw;rate=16000;codec=mulaw"]
)
def test_refused(text: str) -> None:
    """Any other encoding is refused by name, with what is allowed."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_encoding(text)
    assert refused.value.public.startswith("encoding ")
    assert all(name in refused.value.public for name in ENCODINGS)


@pytest.mark.parametrize(
    ("encoding", "count", "ms"),
    [
        (Encoding(16000, "pcm", 2), 3200, 100),
        (Encoding(16000, "pcm", 2), 31, 0),
        (Encoding(8000, "pcm", 2), 3200, 200),
        (Encoding(8000, "alaw", 1), 3200, 400),
    ],
)
def test_lengths(encoding: Encoding, count: int, ms: int) -> None:
    """Bytes and ms convert by the rate and size of a sample, rounding down."""
    assert encoding.bytes_to_ms(count) == ms
    assert encoding.ms_to_bytes(ms) <= count
    assert encoding.bytes_to_ms(encoding.ms_to_bytes(ms)) == ms


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0x00, -32124), (0x80, 32124), (0xFF, 0), (0x7F, 0), (0xFE, 8), (0x7E, -8), (0x8F, 16764)],
)
def test_mulaw(code: int, sample: int) -> None:
    """Mu-law bytes decode to the values of G.711 table 2, times four."""
    assert MULAW[code] == sample


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0x2A, -32256), (0xAA, 32256), (0x55, -8), (0xD5, 8), (0xD4, 24), (0x80, 5504)],
)
def test_alaw(code: int, sample: int) -> None:
    """A-law bytes decode to the values of G.711 table 1, times eight."""
    assert ALAW[code] == sample


@pytest.mark.parametrize("table", [MULAW, ALAW])
def test_symmetry(table: np.ndarray) -> None:
    """The upper half of either table is the lower half with the sign turned."""
    assert np.array_equal(table[128:], -table[:128])


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
@pytest.mark.parametrize("encoding", list(ENCODINGS.values()), ids=list(ENCODINGS))
def test_any_cut(encoding: Encoding, audio: bytes, cuts: list[int]) -> None:
    """Bytes decode to the same samples however they are cut, even inside a sample."""
    whole = Decoder(encoding).decode(audio)
    decoder, edges = Decoder(encoding), sorted({0, *cuts, len(audio)})
    pieces = [decoder.decode(audio[start:end]) for start, end in pairwise(edges)] or [whole]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert len(whole) == len(audio) // encoding.bytes_per_sample


def test_little_endian() -> None:
    """Raw samples are signed and little-endian."""
    decoded = Decoder(parse_encoding("audio/raw;rate=16000")).decode(b"\x01\x00\xff\xff\x00\x80")
    assert decoded.tolist() == [1, -1, -32768]
