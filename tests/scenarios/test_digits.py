"""Spoken digits over the socket, heard by a streaming model."""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from bench.digits import ENCODING, mu_law
from stapes import RealtimeSessionToken, samples

LEAST_RIGHT = 6
"""Of ten; the voice is a synthetic one, and the model knows six people."""

Mint = Callable[..., RealtimeSessionToken]


@pytest.fixture(scope="module")
def telephone() -> bytes:
    """The sample of digits as a telephone brings it: µ-law at 8 kHz."""
    pcm, rate_hz = soundfile.read(samples.load("digits").path, dtype="int16")
    return mu_law(np.asarray(soxr.resample(pcm, rate_hz, 8000), np.int16))


async def test_digits_of_a_telephone(hearing: Any, mint: Mint, peer: Any, telephone: bytes) -> None:
    """Partials come, and finals with most of the digits and times that lie in the audio."""
    async with peer(hearing.ws_url, f"encoding={ENCODING}") as client:
        await client.authenticate(mint(hearing))
        text = await client.hear(telephone)
    shown = [m["transcriptions"][0] for m in client.messages if m["event"] == "RESULT"]
    tokens = [token for each in shown if each["isFinal"] for token in each["tokens"]]
    times = [time for token in tokens for time in (token["startTimeInMs"], token["endTimeInMs"])]
    assert any(not each["isFinal"] for each in shown)
    assert all(before <= after for before, after in pairwise(times))
    assert 0 < times[0] < times[-1] <= len(telephone) / 8
    assert digits_right(text) >= LEAST_RIGHT


def digits_right(text: str) -> int:
    """Digits of the sample that are in the text, in their order."""
    said = samples.load("digits").text.lower().strip(".").split()
    blocks = SequenceMatcher(None, said, text.split(), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)
