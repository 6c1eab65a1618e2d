"""One server with several models: each stream is heard by the one that serves what it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from stapes import RealtimeSessionToken

MODELS = {"ORACLE": "digits", "WHISPER": "whisper"}


async def test_each_stream_is_heard_by_the_model_of_its_type(
    hearing: Any, mint: Callable[..., RealtimeSessionToken], peer: Any, speech: bytes
) -> None:
    """At the same time, and its record names the model; only the streaming one has partials."""
    tokens = {model_type: mint(hearing) for model_type in MODELS}

    async def hear(model_type: str) -> set[bool]:
        async with peer(hearing.ws_url, f"modelType={model_type}") as client:
            await client.authenticate(tokens[model_type])
            await client.hear(speech)
        results = [each for each in client.messages if each["event"] == "RESULT"]
        return {each["transcriptions"][0]["isFinal"] for each in results}

    assert await asyncio.gather(*map(hear, MODELS)) == [{True, False}, {True}]
    store = hearing.deployment.store
    for model_type, model in MODELS.items():
        (stream,) = store.streams(limit=2, session_id=tokens[model_type].session_id)
        assert stream.engine == model


def test_readiness_names_the_models(hearing: Any) -> None:
    """PocketSphinx is not among them where something better serves English."""
    ready = httpx.get(f"{hearing.url}/ready", trust_env=False).json()
    shares = ready["models"]
    assert {share["modelType"]: share["model"] for share in shares} == MODELS
    assert [share for share in shares if "en-US" in share["languageCodes"]] == [
        {
            "model": "digits",
            "engine": "sherpa",
            "modelType": "ORACLE",
            "modelDomains": ["GENERIC"],
            "languageCodes": ["en-US"],
        }
    ]
