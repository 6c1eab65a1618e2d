"""What the operator installs for the words of finals: marks of a model, and phrase lists."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from stapes import RealtimeSessionToken
from tests.conftest import Served, running_server
from tests.engines.models import DIGITS, PUNCTUATION, TONES

Mint = Callable[..., RealtimeSessionToken]

QUIET = 0.03
"""Of the sample speech: the model of tones hears nothing in it, unless it is told what to hear."""


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Digits in American English with marks and capitals, and tones in Brazilian Portuguese."""
    folder = tmp_path_factory.mktemp("equipped")
    for model in (DIGITS, TONES, PUNCTUATION / "edge"):
        shutil.copytree(model, folder / "models" / model.name)
    home = folder / "home"
    with running_server(home, engine=None, models_folder=folder / "models", streams=4) as server:
        lists = home / "customizations"
        lists.mkdir()
        (lists / "low.txt").write_text("low\n")
        (lists / "high.txt").write_text("high\n")
        yield server


async def finals_of(
    server: Served, mint: Mint, peer: Any, query: str, audio: bytes
) -> list[dict[str, Any]]:
    """The finals that have words."""
    async with peer(server.ws_url, query) as client:
        connected = await client.authenticate(mint(server))
        assert connected["event"] == "CONNECT"
        await client.hear(audio)
    shown = [m["transcriptions"][0] for m in client.messages if m["event"] == "RESULT"]
    return [each for each in shown if each["isFinal"] and each["tokens"]]


async def test_marks_of_a_model(equipped: Served, mint: Mint, peer: Any, digits: bytes) -> None:
    """Are tokens of finals where AUTO asks for them; the words keep their times."""
    query = "finalSilenceThresholdInMs=5000&punctuation="
    bare = await finals_of(equipped, mint, peer, f"{query}NONE", digits)
    marked = await finals_of(equipped, mint, peer, f"{query}AUTO", digits)
    for plain, shown in zip(bare, marked, strict=True):
        tokens = shown["tokens"]
        words = [token for token in tokens if token["type"] == "WORD"]
        assert [_placed(word) for word in words] == [_placed(each) for each in plain["tokens"]]
        assert [word["token"].lower() for word in words] == plain["transcription"].split()
        for before, mark in pairwise(tokens):
            if mark["type"] == "PUNCTUATION":
                ends = {before["endTimeInMs"], mark["startTimeInMs"], mark["endTimeInMs"]}
                assert len(ends) == 1
        text = "".join(
            each["token"] if each["type"] == "PUNCTUATION" else f" {each['token']}"
            for each in tokens
        )
        assert shown["transcription"] == text.strip()
    text = " ".join(shown["transcription"] for shown in marked)
    assert any(said in text for said in ("two, ", "six, ", "SEVEN", "four. Five"))
    assert not any(mark in " ".join(each["transcription"] for each in bare) for mark in ",.?")


def _placed(token: dict[str, Any]) -> tuple[str, int, int]:
    return token["token"].lower(), token["startTimeInMs"], token["endTimeInMs"]


def test_readiness_names_what_sets_the_marks(equipped: Served) -> None:
    """For which streams, beside what hears."""
    ready = httpx.get(f"{equipped.url}/ready", trust_env=False).json()
    assert [share["model"] for share in ready["models"]] == ["digits", "tones"]
    assert ready["punctuation"] == [
        {
            "model": "edge",
            "engine": "sherpa",
            "modelType": "ORACLE",
            "modelDomains": ["GENERIC"],
            "languageCodes": ["en-US"],
        }
    ]


def selecting(*aliases: str, **more: str) -> str:
    """A query that selects lists."""
    chosen = json.dumps([{"customizationAlias": alias} for alias in aliases])
    rest = "".join(f"&{name}={value}" for name, value in more.items())
    return f"customizations={quote(chosen)}{rest}"


@pytest.mark.parametrize(
    ("query", "heard"),
    [
        ("", set()),
        (selecting("low"), {"low"}),
        (selecting("high"), {"high"}),
        (selecting("nonesuch", "low", shouldIgnoreInvalidCustomizations="true"), {"low"}),
    ],
)
async def test_a_phrase_list_is_heard_rather(
    equipped: Served, mint: Mint, peer: Any, speech: bytes, query: str, heard: set[str]
) -> None:
    """The words of the lists that a client selects, and of no other."""
    quiet = (np.frombuffer(speech, np.int16) * QUIET).astype(np.int16).tobytes()
    finals = await finals_of(equipped, mint, peer, f"languageCode=pt-BR&{query}", quiet)
    assert {token["token"] for final in finals for token in final["tokens"]} == heard


@pytest.mark.parametrize(
    ("language", "alias", "named"),
    [
        ("pt-BR", "nonesuch", "The customization nonesuch cannot be used"),
        ("pt-BR", "../config", "customizationAlias"),
        ("en-US", "low", "the model digits takes no phrases"),
    ],
)
async def test_a_list_that_cannot_be_used_is_400(
    equipped: Served, mint: Mint, peer: Any, language: str, alias: str, named: str
) -> None:
    """By name, with the way out; and ignored where the client says so."""
    query = f"languageCode={language}&"
    async with peer(equipped.ws_url, query + selecting(alias)) as client:
        error = await client.authenticate(mint(equipped))
        assert (error["event"], error["code"]) == ("ERROR", 400)
        assert named in error["message"]
        assert await client.read_to_close() == (0, 1008)
    ignoring = selecting(alias, shouldIgnoreInvalidCustomizations="true")
    async with peer(equipped.ws_url, query + ignoring) as client:
        assert (await client.authenticate(mint(equipped)))["event"] == "CONNECT"
