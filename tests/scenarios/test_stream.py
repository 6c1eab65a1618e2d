"""The socket of a real server, with a bare websocket as peer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import numpy as np
import pytest
import soxr
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed

from stapes import RealtimeSessionToken
from stapes.client.profile import load_private_key, read_profile
from stapes.signing.signer import sign_credentials
from tests.shelf import install
from tests.waiting import PATIENCE_S, until

Mint = Callable[..., RealtimeSessionToken]


async def test_a_token_opens_a_stream_and_speech_becomes_text(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Token, CONNECT, acks, partials, a final with words and times, a final on request."""
    server = start_server(engine="pocketsphinx")
    token = mint(server)
    async with peer(server.ws_url, "isAckEnabled=true") as client:
        connected = await client.authenticate(token)
        assert connected == {"event": "CONNECT", "sessionId": token.session_id}
        text = await client.hear(speech)
        assert text == "we will meet again on monday morning at nine o'clock"
    events = [message["event"] for message in client.messages]
    assert events.count("ACKAUDIO") == -(-len(speech) // 3200)
    shown = [m["transcriptions"][0] for m in client.messages if m["event"] == "RESULT"]
    assert len([each for each in shown if not each["isFinal"]]) >= 3
    final = next(each for each in shown if each["isFinal"])
    words = final["tokens"]
    assert [word["token"] for word in words] == text.split()
    assert all(word["type"] == "WORD" and 0 <= word["confidence"] <= 1 for word in words)
    times = [time for word in words for time in (word["startTimeInMs"], word["endTimeInMs"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= len(speech) // 32


async def test_each_session_is_heard_by_the_model_for_its_language(
    start_server: Any, mint: Mint, peer: Any, speech: bytes, tmp_path: Path
) -> None:
    """The record names the model; what none serves is refused with the command that helps."""
    install(tmp_path / "home" / "models", "zipformer-en", "en-US")
    install(tmp_path / "home" / "models", "whisper-tiny", "de", model_type="WHISPER")
    server = start_server(engine=None)
    queries = {"": "zipformer-en", "modelType=WHISPER&languageCode=de": "whisper-tiny"}
    for query in queries:
        async with peer(server.ws_url, query) as client:
            await client.authenticate(mint(server))
            assert (await client.hear(speech)).startswith("zero one two")
    async with peer(server.ws_url, "languageCode=fr-FR") as client:
        refused = await client.authenticate(mint(server))
    assert refused["code"] == 400
    assert "languageCode fr-FR is not installed" in refused["message"]
    assert "stapes models pull zipformer-fr" in refused["message"]
    server.stop()
    with closing(sqlite3.connect(server.home.database)) as database:
        heard_by = {model for (model,) in database.execute("SELECT engine FROM streams")}
    assert heard_by == set(queries.values())


async def test_one_credential_opens_session_after_session(
    served: Any, peer: Any, speech: bytes
) -> None:
    """Some clients sign once a minute and use it for every connection."""
    profile = read_profile(served.home.config_file)
    headers = sign_credentials(
        served.ws_url, profile.key_id, load_private_key(profile), datetime.now(UTC)
    )
    session_ids = set()
    for _ in range(2):
        async with peer(served.ws_url) as client:
            await client.send_json(
                authenticationType="CREDENTIALS",
                compartmentId=served.home.compartment_id,
                headers=headers,
            )
            session_ids.add((await client.read())["sessionId"])
            assert await client.hear(speech)
    assert len(session_ids) == 2


@pytest.mark.parametrize("codec", ["pcm", "mulaw", "alaw"])
async def test_telephone_encodings_are_heard(
    served: Any, mint: Mint, peer: Any, speech: bytes, codec: str
) -> None:
    """8 kHz linear, mu-law and A-law bring about as many words as 16 kHz does."""
    wide = np.frombuffer(speech, np.int16)
    narrow = soxr.resample(wide, 16000, 8000)
    audio = narrow.tobytes() if codec == "pcm" else _companded(narrow, codec)
    suffix = "" if codec == "pcm" else f";codec={codec}"
    async with peer(served.ws_url) as client:
        await client.authenticate(mint(served))
        expected = await client.hear(speech)
    async with peer(served.ws_url, f"encoding=audio/raw;rate=8000{suffix}") as client:
        await client.authenticate(mint(served))
        heard = await client.hear(audio)
    assert abs(len(heard.split()) - len(expected.split())) <= 1


def _companded(pcm: Any, codec: str) -> bytes:
    """G.711 by looking for the nearest code of the decoder's table."""
    from stapes.audio.encodings import ALAW, MULAW

    table = (MULAW if codec == "mulaw" else ALAW).astype(np.int32)
    order = np.argsort(table, kind="stable")
    levels = table[order]
    found = np.clip(np.searchsorted(levels, pcm), 0, 255)
    return bytes(order[found].astype(np.uint8))


# Tokens that must not open a socket


def _claims(token: RealtimeSessionToken, **changed: Any) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token.token, options={"verify_signature": False})
    return {**claims, **changed}


def _resigned(server: Any, token: RealtimeSessionToken, **changed: Any) -> str:
    """The token with other claims, signed with the server's own key."""
    from stapes.tokens.minting import mint

    return mint(_claims(token, **changed), server.deployment.signing_key(datetime.now(UTC)))


def _expired(server: Any, token: RealtimeSessionToken) -> str:
    now = int(datetime.now(UTC).timestamp())
    return _resigned(server, token, iat=now - 4000, nbf=now - 4000, exp=now - 31)


def _tampered(_server: Any, token: RealtimeSessionToken) -> str:
    head, claims, signature = token.token.split(".")
    return f"{head}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _unsigned(_server: Any, token: RealtimeSessionToken) -> str:
    return jwt.encode(_claims(token), "", algorithm="none")


def _confused(server: Any, token: RealtimeSessionToken) -> str:
    """HS256 with the public key, which everybody knows, as the secret."""
    kid = jwt.get_unverified_header(token.token)["kid"]
    public = server.deployment.known.keyring.public[kid].public_bytes(
        Encoding.Raw, PublicFormat.Raw
    )
    return jwt.encode(_claims(token), public, algorithm="HS256", headers={"kid": kid})


def _misdirected(server: Any, token: RealtimeSessionToken) -> str:
    return _resigned(server, token, aud="another-service")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "spoil", [_expired, _tampered, _unsigned, _confused, _misdirected], ids=lambda f: f.__name__
)
async def test_a_bad_token_is_401_and_no_recogniser_is_taken(
    served: Any, mint: Mint, peer: Any, spoil: Callable[[Any, RealtimeSessionToken], str]
) -> None:
    """ERROR 401, close 1008, and the pool never hears of it."""
    token = mint(served)
    opened = served.deployment.pool.opened
    bad = token.model_copy(update={"token": spoil(served, token)})
    async with peer(served.ws_url) as client:
        refusal = await client.authenticate(bad)
        assert (refusal["event"], refusal["code"]) == ("ERROR", 401)
        assert refusal["message"].startswith("NotAuthenticated: ")
        assert await client.read_to_close() == (0, 1008)
    assert served.deployment.pool.opened == opened
    async with peer(served.ws_url) as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"


async def test_a_token_for_another_compartment_is_401(served: Any, mint: Mint, peer: Any) -> None:
    """The message has to name the compartment of the token."""
    token = mint(served).model_copy(update={"compartment_id": served.home.tenancy_id})
    async with peer(served.ws_url) as client:
        assert (await client.authenticate(token))["code"] == 401


# Bad input


async def _binary_first(client: Any, _token: RealtimeSessionToken) -> None:
    await client.socket.send(b"\0" * 3200)


async def _large_audio(client: Any, token: RealtimeSessionToken) -> None:
    await client.authenticate(token)
    await client.socket.send(b"\0" * (1024 * 1024 + 1))


async def _huge_audio(client: Any, token: RealtimeSessionToken) -> None:
    await client.authenticate(token)
    await client.socket.send(b"\0" * (24 * 1024 * 1024))


async def _large_text(client: Any, token: RealtimeSessionToken) -> None:
    await client.authenticate(token)
    await client.socket.send("x" * (64 * 1024 + 1))


async def _huge_first_text(client: Any, _token: RealtimeSessionToken) -> None:
    await client.socket.send("x" * (2 * 1024 * 1024))


async def _text_first(client: Any, _token: RealtimeSessionToken) -> None:
    await client.socket.send("hello")


async def _bad_parameter(client: Any, token: RealtimeSessionToken) -> None:
    await client.authenticate(token)


@pytest.mark.parametrize(
    ("query", "act", "answer"),
    [
        ("", _binary_first, (401, 1008)),
        ("", _text_first, (401, 1008)),
        ("", _huge_first_text, (413, 1009)),
        ("", _large_audio, (413, 1009)),
        ("", _huge_audio, (413, 1009)),
        ("", _large_text, (413, 1009)),
        ("punctuation=true", _bad_parameter, (400, 1008)),
        ("languageCode=fr-FR", _bad_parameter, (400, 1008)),
        ("modelType=WHISPER", _bad_parameter, (400, 1008)),
    ],
)
async def test_bad_input_is_answered_and_the_others_go_on(
    served: Any, mint: Mint, peer: Any, speech: bytes, query: str, act: Any, answer: Any
) -> None:
    """The peer reads why; a stream that runs beside it hears every word."""
    async with peer(served.ws_url) as other:
        await other.authenticate(mint(served))
        alone = await other.hear(speech)
        await other.send_audio(speech[: len(speech) // 2])
        async with peer(served.ws_url, query) as client:
            with suppress(ConnectionClosed):  # refused while the frame was still on its way
                await act(client, mint(served))
            code, close_code = await client.read_to_close()
            told = [m["code"] for m in client.messages if m["event"] == "ERROR"]
            assert ((code or told[-1]), close_code) == answer
        assert len((await other.hear(speech[len(speech) // 2 :])).split()) >= len(alone.split()) - 2


async def test_text_where_audio_belongs_is_ignored(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Some clients send a configuration of their own; the stream goes on."""
    async with peer(served.ws_url) as client:
        await client.authenticate(mint(served))
        await client.socket.send('{"sampleRate": 16000}')
        await client.socket.send("not JSON")
        assert await client.hear(speech)


async def test_a_request_with_nothing_pending_gets_an_empty_final(
    served: Any, mint: Mint, peer: Any
) -> None:
    """Exactly one, at the time of the stream, and the socket stays open."""
    async with peer(served.ws_url) as client:
        await client.authenticate(mint(served))
        await client.socket.send(bytes(32_000))
        await client.send_json(event="SEND_FINAL_RESULT")
        final = await client.read_final()
        assert (final["transcription"], final["tokens"]) == ("", [])
        assert final["startTimeInMs"] == final["endTimeInMs"] == 1000
        await client.socket.ping()


async def test_a_peer_that_says_nothing_is_refused(start_server: Any, peer: Any) -> None:
    """A socket that was opened and never authenticates."""
    server = start_server(authentication_timeout_s=0.3)
    async with peer(server.ws_url) as client:
        assert await client.read_to_close() == (401, 1008)


async def test_a_peer_that_vanishes_is_saved_and_let_go(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """A half-open socket: no close, no answer to a ping. What was heard is kept."""
    server = start_server(ping_interval_s=0.5, ping_timeout_s=1.5)
    token = mint(server)
    async with peer(server.ws_url) as client:
        await client.authenticate(token)
        await client.send_audio(speech)
        client.socket.transport.pause_reading()  # from here on it is as good as gone
        await until(lambda: server.deployment.pool.live == 0)
        client.socket.transport.abort()
    server.deployment.writer.flush(PATIENCE_S)
    assert server.deployment.store.finals(token.session_id)
    (stream,) = server.deployment.store.streams(session_id=token.session_id)
    assert stream.reason == "peer"
    assert stream.audio_ms == len(speech) // 32


async def test_the_last_words_of_a_peer_that_closes_are_kept(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Closed right after the last frame: recognised, saved and accounted all the same."""
    token = mint(served)
    async with peer(served.ws_url) as client:
        await client.authenticate(token)
        await client.send_audio(speech)
    await until(lambda: not served.deployment.pool.live)
    served.deployment.writer.flush(PATIENCE_S)
    assert served.deployment.store.finals(token.session_id)[0].words


async def test_audio_that_stops_is_taken_for_silence(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """No silence is sent, nothing is asked for, and the final comes by the wall clock."""
    async with peer(served.ws_url, "finalSilenceThresholdInMs=300") as client:
        await client.authenticate(mint(served))
        await client.send_audio(speech[: len(speech) // 2])
        assert (await client.read_final())["transcription"]


# One session, one live socket


async def test_a_session_has_one_live_socket(
    served: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """A second one is 409 while the first answers; after it, the token opens a second stream."""
    token = mint(served)
    async with peer(served.ws_url) as first, peer(served.ws_url) as second:
        await first.authenticate(token)
        reading = asyncio.create_task(first.hear(speech))
        assert (await second.authenticate(token))["code"] == 409
        assert await second.read_to_close() == (0, 1008)
        assert await reading
    async with peer(served.ws_url) as again:
        assert (await again.authenticate(token))["event"] == "CONNECT"
        await again.hear(speech)
    await until(lambda: not served.deployment.pool.live)
    served.deployment.writer.flush(PATIENCE_S)
    streams = served.deployment.store.streams(session_id=token.session_id)
    assert sorted(each.stream for each in streams) == [1, 2]


async def test_a_dead_first_socket_gives_way(start_server: Any, mint: Mint, peer: Any) -> None:
    """It does not answer the ping, so the second one is served."""
    server = start_server()
    token = mint(server)
    async with peer(server.ws_url) as first:
        await first.authenticate(token)
        first.socket.transport.pause_reading()
        async with peer(server.ws_url) as second:
            assert (await second.authenticate(token))["event"] == "CONNECT"
        first.socket.transport.abort()


async def test_a_single_use_token_opens_one_stream(served: Any, mint: Mint, peer: Any) -> None:
    """The bound rides in the token, so nobody can widen it."""
    token = mint(served, defined_tags={"stapes": {"single-use": True}})
    async with peer(served.ws_url) as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"
    await until(lambda: not len(served.deployment.live))
    async with peer(served.ws_url) as client:
        assert (await client.authenticate(token))["code"] == 401


@pytest.mark.parametrize(
    ("bounds", "query", "options"),
    [
        ({"language-code": "de-DE"}, "languageCode=en-US", {}),
        ({"model-type": "WHISPER"}, "", {}),
        ({"origin": "https://app.example"}, "", {"origin": "https://other.example"}),
        ({"origin": "https://app.example"}, "", {}),
    ],
)
async def test_a_bound_of_the_token_is_kept(
    served: Any, mint: Mint, peer: Any, bounds: Any, query: str, options: Any
) -> None:
    """Language, model type and origin of the upgrade are those of the token or none."""
    token = mint(served, defined_tags={"stapes": bounds})
    async with peer(served.ws_url, query, **options) as client:
        assert (await client.authenticate(token))["code"] == 401


async def test_the_right_origin_is_let_in(served: Any, mint: Mint, peer: Any) -> None:
    """Case does not matter in a host name."""
    token = mint(served, defined_tags={"stapes": {"origin": "https://App.example"}})
    async with peer(served.ws_url, origin="https://app.example") as client:
        assert (await client.authenticate(token))["event"] == "CONNECT"


async def test_the_most_audio_of_a_token_ends_the_stream(
    served: Any, mint: Mint, peer: Any
) -> None:
    """ERROR 429 after the final."""
    token = mint(served, defined_tags={"stapes": {"max-audio-seconds": 1}})
    async with peer(served.ws_url) as client:
        await client.authenticate(token)
        await client.send_audio(bytes(40_000))
        assert await client.read_to_close() == (429, 1008)


# Capacity, workers, the server's end


async def test_streams_beyond_the_limit_are_503(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Close 1013, and the stream that runs does not notice."""
    server = start_server(streams=1)
    async with peer(server.ws_url) as first:
        await first.authenticate(mint(server))
        await first.send_audio(speech[:40_000])
        async with peer(server.ws_url) as second:
            assert (await second.authenticate(mint(server)))["code"] == 503
            assert await second.read_to_close() == (0, 1013)
        assert await first.hear(speech[40_000:])
    await until(lambda: server.deployment.pool.live == 0)
    async with peer(server.ws_url) as third:
        assert (await third.authenticate(mint(server)))["event"] == "CONNECT"


async def test_a_dead_worker_is_replaced(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Its stream goes on in another one, and so does one that had a process of its own."""
    server = start_server(engine="pocketsphinx", streams=4)
    pool = server.deployment.pool
    async with peer(server.ws_url) as victim, peer(server.ws_url) as other:
        before = set(pool.worker_pids)
        await victim.authenticate(mint(server))
        (pid,) = pool.busy_pids
        assert pid in before
        await other.authenticate(mint(server))
        os.kill(pid, signal.SIGKILL)
        assert "monday morning" in await victim.hear(speech)
        assert "monday morning" in await other.hear(speech)


async def test_a_stopping_server_finishes_what_it_heard(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """Final, ERROR 503, close 1001; the words are in the store."""
    server = start_server()
    token = mint(server)
    async with peer(server.ws_url) as client:
        await client.authenticate(token)
        await client.send_audio(speech)
        server.stop()
        assert await client.read_to_close() == (503, 1001)
    shown = [m["transcriptions"][0] for m in client.messages if m["event"] == "RESULT"]
    assert shown[-1]["isFinal"]


async def test_nothing_of_a_peer_reaches_the_log(
    served: Any, mint: Mint, peer: Any, speech: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither tokens, nor queries, nor words."""
    token = mint(served)
    async with peer(served.ws_url, "token=in-the-query") as client:
        await client.authenticate(token)
        words = await client.hear(speech)
    await until(lambda: not served.deployment.pool.live)
    logged = "".join(capfd.readouterr())
    assert token.token not in logged
    assert "in-the-query" not in logged
    assert words not in logged
    assert json.dumps(token.session_id) in logged or token.session_id in logged
