"""Streams of ``modelType=WHISPER``: whole utterances through the socket of a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stapes import RealtimeSessionToken

Mint = Callable[..., RealtimeSessionToken]

MS_BYTES = 32  # of PCM at 16 kHz
ORACLE_ONLY = (
    "stabilizePartialResults=HIGH&shouldIgnoreInvalidCustomizations=true"
    "&customizations=%5B%7B%22customizationId%22%3A%22x%22%7D%5D&punctuation=SPOKEN"
    "&partialSilenceThresholdInMs=300&modelDomain=GENERIC"
)


async def hear(server: Any, mint: Mint, peer: Any, pcm: bytes, query: str) -> list[dict[str, Any]]:
    """Every result of a stream."""
    async with peer(server.ws_url, f"modelType=WHISPER&{query}") as client:
        assert (await client.authenticate(mint(server)))["event"] == "CONNECT"
        await client.hear(pcm)
    results = [each for each in client.messages if each["event"] == "RESULT"]
    return [each["transcriptions"][0] for each in results]


async def test_finals_and_no_partials(hearing: Any, mint: Mint, peer: Any, speech: bytes) -> None:
    """Words with times inside the audio, and every mark a token of its own."""
    final, empty = await hear(hearing, mint, peer, speech, "")
    assert final["isFinal"]
    assert empty["isFinal"]
    tokens = final["tokens"]
    assert {token["type"] for token in tokens} == {"WORD", "PUNCTUATION"}
    assert all((token["type"] == "WORD") is token["token"].isalpha() for token in tokens)
    times = [time for token in tokens for time in (token["startTimeInMs"], token["endTimeInMs"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= len(speech) // MS_BYTES
    texts = [token["token"] for token in tokens]
    assert final["transcription"] == " ".join(texts).replace(" ,", ",").replace(" .", ".")
    assert 0 < final["confidence"] <= 1


@pytest.mark.parametrize(
    "query", ["languageCode=auto", "languageCode=EN&punctuation=AUTO", ORACLE_ONLY]
)
async def test_what_is_for_oracle_models_changes_nothing(
    hearing: Any, mint: Mint, peer: Any, speech: bytes, query: str
) -> None:
    """It is accepted, and the same is heard; so it is in the language that is detected."""
    plain = await hear(hearing, mint, peer, speech, "")
    assert await hear(hearing, mint, peer, speech, query) == plain


async def test_thresholds_are_honoured(hearing: Any, mint: Mint, peer: Any, speech: bytes) -> None:
    """A pause is the end of an utterance or not, as the threshold says."""
    audio = speech + bytes(1500 * MS_BYTES) + speech
    for threshold_ms, utterances in ((1000, 2), (5000, 1)):
        query = f"finalSilenceThresholdInMs={threshold_ms}"
        shown = await hear(hearing, mint, peer, audio, query)
        assert all(each["isFinal"] for each in shown)
        finals = [each for each in shown if each["tokens"]]
        assert len(finals) == utterances
        if utterances == 2:  # the second one was ended by the request
            assert threshold_ms <= through_ms(finals[0]) - last_speech_ms(speech)


def through_ms(final: dict[str, Any]) -> int:
    """Where the stream stood when the utterance ended."""
    ended: int = final["endTimeInMs"] + final["trailingSilence"]
    return ended


def last_speech_ms(speech: bytes) -> int:
    """Where the sample stops being loud."""
    loud = np.flatnonzero(np.abs(np.frombuffer(speech, np.int16)) > 1000)
    return int(loud[-1]) // 16


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("modelType=WHISPER&modelDomain=MEDICAL", "modelDomain MEDICAL is not installed"),
        ("modelType=WHISPER&languageCode=en-US", "languageCode must be one of auto"),
        ("modelType=ORACLE&languageCode=es-ES", "languageCode es-ES is not installed"),
    ],
)
async def test_what_is_not_there_is_400_by_name(
    hearing: Any, mint: Mint, peer: Any, query: str, named: str
) -> None:
    """Told with what there is."""
    async with peer(hearing.ws_url, query) as client:
        error = await client.authenticate(mint(hearing))
        assert (error["event"], error["code"]) == ("ERROR", 400)
        assert named in error["message"]
        assert await client.read_to_close() == (0, 1008)
