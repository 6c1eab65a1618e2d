"""The contract of the socket, over real upgrades: a row for what a peer may count on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from websockets.exceptions import ConnectionClosed

from stapes import RealtimeSessionToken
from stapes.client.profile import load_private_key, read_profile
from stapes.signing.signer import sign_credentials

Mint = Callable[..., RealtimeSessionToken]

ASYNCAPI = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")
)
SILENCE = b"\xff" * 8000  # in PCM and in mu-law alike
MS_BYTES = 32  # of PCM at 16 kHz
WINDOW_MS = 32  # what the voice activity detector judges at a time


def shown(client: Any, *, final: bool) -> list[dict[str, Any]]:
    """Transcriptions that were read so far."""
    results = [each for each in client.messages if each["event"] == "RESULT"]
    listed = [each["transcriptions"][0] for each in results]
    return [each for each in listed if each["isFinal"] is final]


def through_ms(final: dict[str, Any]) -> int:
    """Where the stream stood when the utterance ended."""
    ended: int = final["endTimeInMs"] + final["trailingSilence"]
    return ended


# The upgrade and its parameters


MULAW = "audio/raw;rate=8000;codec=mulaw"


@pytest.mark.parametrize(
    ("query", "content_type", "length_ms"),
    [
        ("", None, 250),
        ("&", None, 250),
        ("encoding=audio/raw;rate=16000", None, 250),
        ("encoding=audio/raw;rate=8000", None, 500),
        (f"encoding={MULAW}", None, 1000),
        ("encoding=audio%2Fraw%3Brate%3D8000%3Bcodec%3Dmulaw", None, 1000),
        (f"encoding={MULAW}&isAckEnabled=false&", None, 1000),
        (f"encoding={MULAW.upper()}", None, 1000),
        ("", MULAW, 1000),
        ("languageCode=en-US&modelDomain=GENERIC", MULAW, 1000),
        ("encoding=audio/raw;rate=8000", MULAW, 500),
        ("", "application/json", 250),
        ("sampleRate=8000&freeFormTags=%7B%7D&Encoding=nonsense", None, 250),
    ],
)
async def test_the_upgrade_says_how_the_audio_is_encoded(
    served: Any, mint: Mint, peer: Any, query: str, content_type: str | None, length_ms: int
) -> None:
    """By the query, percent-encoded or not, or by its Content-Type; unknown names say nothing."""
    headers = {"Content-Type": content_type} if content_type else {}
    async with peer(served.ws_url, query, additional_headers=headers) as client:
        assert (await client.authenticate(mint(served)))["event"] == "CONNECT"
        await client.socket.send(SILENCE)
        await client.send_json(event="SEND_FINAL_RESULT")
        final = await client.read_final()
        assert final["startTimeInMs"] == final["endTimeInMs"] == length_ms


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("punctuation=true", "punctuation must be one of NONE, SPOKEN, AUTO"),
        ("finalSilenceThresholdInMs=5001", "finalSilenceThresholdInMs must be a whole number"),
        ("partialSilenceThresholdInMs=5000", "from 0 to 2000"),
        ("languageCode=xx-XX", "languageCode must be one of en-US"),
        ("encoding=audio/wav", "encoding must be one of: audio/raw;rate=16000"),
        ("modelType=WHISPER_MEDIUM", "modelType must be one of ORACLE, WHISPER"),
        ("languageCode=fr-FR", "languageCode fr-FR is not installed"),
        ("modelType=WHISPER", "modelType WHISPER is not installed"),
        (
            "modelType=WHISPER&languageCode=ja&finalSilenceThresholdInMs=700"
            "&shouldIgnoreInvalidCustomizations=false",
            "modelType WHISPER is not installed",
        ),
        ("customizations=%5B%7B%22customizationId%22%3A%22x%22%7D%5D", "customizations"),
    ],
)
async def test_a_parameter_that_cannot_be_met_is_400_by_name(
    served: Any, mint: Mint, peer: Any, query: str, named: str
) -> None:
    """Told after authentication; what is not installed comes with what is."""
    async with peer(served.ws_url, query) as client:
        error = await client.authenticate(mint(served))
        assert (error["event"], error["code"]) == ("ERROR", 400)
        assert error["message"].startswith("InvalidParameter: ")
        assert named in error["message"]
        if "is not installed" in named:
            assert "Installed: modelType ORACLE" in error["message"]
            assert "languageCode en-US" in error["message"]
        assert await client.read_to_close() == (0, 1008)


async def test_a_stranger_learns_nothing_of_the_parameters(
    served: Any, mint: Mint, peer: Any
) -> None:
    """Authentication is judged first."""
    token = mint(served).model_copy(update={"token": "x.y.z"})
    async with peer(served.ws_url, "punctuation=true") as client:
        assert (await client.authenticate(token))["code"] == 401


# Authentication


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/", "CONNECT"),
        ("/ws/transcribe/stream", "CONNECT"),
        ("/ws/transcribe/stream?encoding=audio/raw;rate=16000&", "CONNECT"),
        ("/ws/transcribe/stream/", "ERROR"),
        ("/ws/transcribe", "ERROR"),
        ("/?x=1", "ERROR"),
        ("/20220101/actions/realtimeSessionToken", "ERROR"),
    ],
)
async def test_credentials_are_for_the_path_they_were_signed_for(
    served: Any, peer: Any, target: str, answer: str
) -> None:
    """A request to something else, signed, opens nothing here."""
    profile = read_profile(served.home.config_file)
    uri = served.ws_url.replace("/ws/transcribe/stream", target)
    key = load_private_key(profile)
    headers = sign_credentials(uri, profile.key_id, key, datetime.now(UTC))
    async with peer(served.ws_url) as client:
        await client.send_json(
            authenticationType="CREDENTIALS",
            compartmentId=served.home.compartment_id,
            headers=headers,
        )
        told = await client.read()
        assert (told["event"], told.get("code")) == (answer, 401 if answer == "ERROR" else None)


async def test_audio_may_follow_authentication_at_once(served: Any, mint: Mint, peer: Any) -> None:
    """What comes before CONNECT is held, acknowledged after it, and counts."""
    token = mint(served)
    async with peer(served.ws_url, "isAckEnabled=true") as client:
        await client.send_json(
            authenticationType="TOKEN", compartmentId=token.compartment_id, token=token.token
        )
        for _ in range(12):  # three seconds, more than is held
            await client.socket.send(SILENCE)
        await client.send_json(event="SEND_FINAL_RESULT")
        assert (await client.read_final())["endTimeInMs"] == 3000
    assert client.messages[0] == {"event": "CONNECT", "sessionId": token.session_id}
    acks = [each["details"] for each in client.messages if each["event"] == "ACKAUDIO"]
    assert acks == [
        {"number": number + 1, "offset": number * 8000, "length": 8000} for number in range(12)
    ]


# Messages


async def test_no_message_has_a_field_that_is_not_documented(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Of every kind there is one, and some clients fail on a field that they do not know."""
    async with peer(served.ws_url, "isAckEnabled=true") as client:
        await client.authenticate(mint(served))
        await client.hear(speech)
        assert client.socket.subprotocol is None
    async with peer(served.ws_url) as refused:
        await refused.send_json(hello="there")
        await refused.read_to_close()
    seen = set()
    for message in client.messages + refused.messages:
        kinds = [name for name, schema in _outgoing().items() if _fits(message, schema)]
        assert len(kinds) == 1, message
        seen.add(kinds[0])
    assert seen == set(_outgoing())


def _outgoing() -> dict[str, Any]:
    told = ASYNCAPI["operations"]["tell"]["messages"]
    names = [each["$ref"].rpartition("/")[2] for each in told]
    return {name: {"$ref": f"#/components/schemas/{name}"} for name in names}


def _fits(message: dict[str, Any], schema: dict[str, Any]) -> bool:
    fits: bool = Draft202012Validator({**ASYNCAPI, **schema}).is_valid(message)
    return fits


async def test_times_go_on_from_utterance_to_utterance(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """One timeline for the whole stream, whatever ended the utterances."""
    async with peer(served.ws_url, "finalSilenceThresholdInMs=500") as client:
        await client.authenticate(mint(served))
        await client.send_audio(speech + bytes(1000 * MS_BYTES) + speech)
        await client.send_json(event="SEND_FINAL_RESULT")
        finals = [await client.read_final(), await client.read_final()]
    first, second = finals
    assert first["tokens"]
    assert second["tokens"]
    assert second["startTimeInMs"] >= len(speech) // MS_BYTES > first["endTimeInMs"] - 1000
    assert through_ms(second) == (2 * len(speech)) // MS_BYTES + 1000


# Partials and finals


@pytest.mark.parametrize(("partial_ms", "final_ms"), [(2000, 2000), (500, 500), (1000, 500)])
async def test_a_partial_threshold_at_the_final_one_leaves_no_partials(
    served: Any, mint: Mint, peer: Any, speech: bytes, partial_ms: int, final_ms: int
) -> None:
    """Some clients turn partials off in this way."""
    query = f"partialSilenceThresholdInMs={partial_ms}&finalSilenceThresholdInMs={final_ms}"
    async with peer(served.ws_url, query) as client:
        await client.authenticate(mint(served))
        assert await client.hear(speech + bytes(3000 * MS_BYTES))
    assert shown(client, final=True)
    assert shown(client, final=False) == []


async def test_a_partial_threshold_holds_partials_back(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Until that much silence; without it they come while there is speech."""
    silences = []
    for threshold_ms in (0, 400):
        query = f"partialSilenceThresholdInMs={threshold_ms}"
        async with peer(served.ws_url, query) as client:
            await client.authenticate(mint(served))
            await client.hear(speech + bytes(3000 * MS_BYTES))
        silences.append([each["trailingSilence"] for each in shown(client, final=False)])
    at_once, held_back = silences
    assert min(at_once) == 0
    assert held_back
    assert min(held_back) >= 400


@pytest.fixture
def listening(start_server: Any) -> Any:
    """A server whose words have the times at which they were spoken."""
    return start_server(engine="pocketsphinx", streams=4)


async def test_a_final_comes_after_its_silence_by_the_clock_of_the_audio(
    listening: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Sent faster than it was spoken, and without a request; 0 is 200 ms."""
    ended = {}
    for threshold_ms in (200, 0, 500, 2000, 5000):
        async with peer(listening.ws_url, f"finalSilenceThresholdInMs={threshold_ms}") as client:
            await client.authenticate(mint(listening))
            await client.send_audio(speech + bytes(7000 * MS_BYTES))
            final = await client.read_final()
        ended[threshold_ms] = through_ms(final)
        after_ms = max(threshold_ms, 200) - 200
        assert abs(ended[threshold_ms] - ended[200] - after_ms) <= WINDOW_MS
        # Silence is sure a little after the last word's end: the detector lets go slowly.
        assert 0 <= final["trailingSilence"] - max(threshold_ms, 200) <= 150
    assert ended[0] == ended[200]


async def test_speech_without_a_pause_is_final_after_60_s(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """And goes on with the next utterance."""
    async with peer(served.ws_url) as client:
        await client.authenticate(mint(served))
        await client.send_audio(speech * (70_000 * MS_BYTES // len(speech)))
        first = await client.read_final()
        await client.send_json(event="SEND_FINAL_RESULT")
        second = await client.read_final()
    assert 60_000 <= through_ms(first) - first["startTimeInMs"] <= 60_100
    assert second["tokens"]
    assert second["startTimeInMs"] >= first["endTimeInMs"]


# Ends


@pytest.mark.parametrize(
    ("rules", "bounds", "code", "word"),
    [
        ({"idle_timeout_s": 1.5}, {}, 408, "RequestTimeout"),
        ({"longest_session_s": 1.5}, {}, 429, "TooManyRequests"),
        ({}, {"max-session-seconds": 2}, 429, "TooManyRequests"),
    ],
)
async def test_a_limit_of_time_ends_the_stream_after_its_final(
    start_server: Any,
    mint: Mint,
    peer: Any,
    speech: bytes,
    rules: dict[str, float],
    bounds: dict[str, int],
    code: int,
    word: str,
) -> None:
    """Idle for too long, or open for too long: what was heard comes first."""
    server = start_server(**rules)
    token = mint(server, defined_tags={"stapes": bounds})
    async with peer(server.ws_url, "finalSilenceThresholdInMs=5000") as client:
        await client.authenticate(token)
        await client.send_audio(speech)
        assert await client.read_to_close() == (code, 1008)
    *_, final, error = client.messages
    assert final["transcriptions"][0]["isFinal"]
    assert final["transcriptions"][0]["tokens"]
    assert error["message"].startswith(f"{word}: ")


async def test_audio_alone_keeps_a_stream_from_being_idle(
    start_server: Any, mint: Mint, peer: Any
) -> None:
    """Silence is audio, other messages are none."""
    server = start_server(idle_timeout_s=2)
    async with peer(server.ws_url) as client:
        await client.authenticate(mint(server))
        for _ in range(10):
            await client.socket.send(SILENCE)
            await asyncio.sleep(0.25)
        await client.socket.ping()
        reading = asyncio.create_task(client.read_to_close())
        with suppress(ConnectionClosed):
            while not reading.done():
                await client.send_json(event="KEEP_ALIVE")
                await asyncio.sleep(0.1)
        assert await reading == (408, 1008)


async def test_a_client_that_closes_is_answered_with_its_code(
    served: Any, mint: Mint, peer: Any
) -> None:
    """1000, and no ERROR before it."""
    async with peer(served.ws_url) as client:
        await client.authenticate(mint(served))
        await client.socket.close(1000)
        assert await client.read_to_close() == (0, 1000)
