"""What random peers at the socket do, and what each of them has to be answered.

One function is one peer from its upgrade to its end. Whoever keeps to the protocol checks its
answers; all the others only have to be let go.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from bench.socket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Peer,
    ask,
    fragments,
    frame,
    upgrade,
)
from stapes import CreateRealtimeSessionTokenDetails
from stapes.cli.own_server import OwnServer
from stapes.client.profile import load_private_key
from stapes.client.tokens import mint_token
from stapes.client.urls import stream_url
from stapes.measuring.clips import bundled
from stapes.signing.signer import sign_credentials

TOKENS = 8
SIGNATURE_LIFE_S = 60.0
SIZES = (0, 1, 2, 3, 125, 126, 127, 319, 640, 641, 3200, 3201, 16_000, 65_535, 65_536)
FINAL = b'{"event":"SEND_FINAL_RESULT"}'
QUERY = "isAckEnabled=true&finalSilenceThresholdInMs=5000"
SILENCE_BYTES = 5 * 32_000
"""With less audio than this, no silence brings about a final that nobody asked for."""
QUERIES = (
    *(QUERY,) * 4,
    "finalSilenceThresholdInMs=0&punctuation=AUTO",
    "encoding=audio/raw;rate=8000;codec=mulaw&stabilizePartialResults=HIGH",
    "encoding=audio/raw;rate=7",
    "languageCode=xx-XX&a=%FF",
    "modelType=WHISPER",
)
TEXTS = (
    b"",
    b"{}",
    b"[",
    b"null",
    b'{"event":"SEND_FINAL"}',
    b"9" * 5000,
    b"[" * 9000,
    b"\xc3\xa9",
)
BAD_AUTHENTICATIONS = (
    *TEXTS,
    FINAL,
    b'{"authenticationType":"TOKEN","compartmentId":"c","token":"a.b.c"}',
    b'{"authenticationType":"TOKEN","compartmentId":7,"token":null}',
    b'{"authenticationType":"CREDENTIALS","compartmentId":"c","headers":{"authorization":"x"}}',
    b"x" * (64 * 1024 + 1),
)


STREAM = b"/ws/transcribe/stream"
UPGRADES = (
    upgrade(STREAM + b"?a=\xff\xc3\xa9"),
    upgrade(STREAM + b"?" + b"x" * 20_000),
    upgrade(STREAM + b"?x=%zz&&&=&==;"),
    upgrade(STREAM + b"/further"),
    upgrade(b"http://elsewhere.example/" + STREAM),
    upgrade(b"/ws/%ff%00"),
    upgrade(STREAM, b"Sec-WebSocket-Version: 12"),
    upgrade(STREAM, b"Sec-WebSocket-Version: 13"),
    upgrade(STREAM, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: short"),
    upgrade(STREAM, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY, b"X: \xff\xfe"),
    upgrade(
        STREAM, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + KEY, b"Content-Type: \xff"
    ),
    b"BREW /pot HTCPCP/1.0\r\n\r\n",
)


class Credentials:
    """What opens a session: a signature, made anew now and then, or one of a few tokens."""

    def __init__(self, server: OwnServer) -> None:
        self._server = server
        self._key = load_private_key(server.profile)
        self._signed: bytes = b""
        self._signed_at = -SIGNATURE_LIFE_S
        details = CreateRealtimeSessionTokenDetails(compartment_id=server.profile.compartment)
        minted = [mint_token(server.url, server.profile, details) for _ in range(TOKENS)]
        self._tokens = [self._message("TOKEN", token=each.token) for each in minted]

    def pick(self, random: Random) -> bytes:
        """The first message of a peer. A token's session may be live elsewhere: ERROR then."""
        if random.random() < 0.2:
            return random.choice(self._tokens)
        if time.monotonic() - self._signed_at >= SIGNATURE_LIFE_S:
            url = stream_url(self._server.url, {})
            headers = sign_credentials(
                url, self._server.profile.key_id, self._key, datetime.now(UTC)
            )
            self._signed = self._message("CREDENTIALS", headers=headers)
            self._signed_at = time.monotonic()
        return self._signed

    def _message(self, kind: str, **fields: Any) -> bytes:
        compartment = self._server.profile.compartment
        message = {"authenticationType": kind, "compartmentId": compartment, **fields}
        return json.dumps(message).encode()


@dataclass
class Sent:
    """What a peer has asked for so far."""

    frames: int = 0
    audio_bytes: int = 0
    finals: int = 0
    pings: int = 0


async def follow_script(server: OwnServer, credentials: Credentials, random: Random) -> str:
    """One peer from its upgrade to its end; what it was. Raises `Silence`, `AssertionError`."""
    if random.random() < 0.03:
        await ask(server.url, random.choice(UPGRADES))
        return "odd upgrade"
    query = random.choice(QUERIES)
    peer = await Peer.connect(server.url, query)
    try:
        if random.random() < 0.25:
            return await _refused(peer, random)
        await peer.send(_message(random, TEXT, credentials.pick(random)))
        if random.random() < 0.7:  # the others do not wait: what they send is held
            await peer.until(1, "CONNECT", "ERROR")
        sent = Sent()
        for _ in range(random.randint(0, 12)):
            await _act(peer, random, sent)
        end = random.choice(ENDS)
        await (_settle(peer, sent, query) if end is None else end(peer, random))
        return "settled" if end is None else end.__name__.strip("_")
    finally:
        peer.may_read.set()
        await peer.leave()


async def _refused(peer: Peer, random: Random) -> str:
    """A first message that authenticates nobody: one ERROR, and the close after it."""
    is_audio = random.random() < 0.2
    bad = random.randbytes(640) if is_audio else random.choice(BAD_AUTHENTICATIONS)
    await peer.send(_message(random, BINARY if is_audio else TEXT, bad))
    await peer.until_ended()
    assert (peer.said["ERROR"], peer.said["CONNECT"], peer.said["close"]) == (1, 0, 1), peer.said
    return "refused"


def _message(random: Random, opcode: int, payload: bytes) -> bytes:
    is_whole = random.random() < 0.7
    return frame(opcode, payload) if is_whole else b"".join(fragments(random, opcode, payload))


async def _act(peer: Peer, random: Random, sent: Sent) -> None:
    what = random.choices(("audio", "final", "ping", "pong", "text", "pause", "deaf"), ACT_WEIGHTS)
    match what[0]:
        case "audio":
            audio = _audio(random)
            await peer.send(_message(random, BINARY, audio))
            sent.frames += 1
            sent.audio_bytes += len(audio)
        case "final":
            await peer.send(_message(random, TEXT, FINAL))
            sent.finals += 1
        case "ping":
            await peer.send(frame(PING, random.randbytes(random.choice((0, 1, 125)))))
            sent.pings += 1
        case "pong":
            await peer.send(frame(PONG, b"nobody asked"))
        case "text":
            await peer.send(_message(random, TEXT, random.choice(TEXTS)))
        case "pause":
            await asyncio.sleep(random.random() * 0.02)
        case "deaf":
            peer.may_read.clear()
            asyncio.get_running_loop().call_later(random.random() / 5, peer.may_read.set)


ACT_WEIGHTS = (10, 4, 2, 1, 2, 1, 1)


def _audio(random: Random) -> bytes:
    size = random.choice(SIZES)
    if random.random() < 0.3:
        return random.randbytes(size)
    start = random.randrange(0, len(SPEECH) - size, 2) if len(SPEECH) > size else 0
    return SPEECH[start : start + size]


SPEECH = b"".join(clip.pcm().tobytes() for clip in bundled())


# Ends


async def _settle(peer: Peer, sent: Sent, query: str) -> None:
    """Ask for a last final, and see that every request was answered once before the close."""
    await peer.send(frame(TEXT, FINAL) + frame(PING, b"last"))
    finals, pings = sent.finals + 1, sent.pings + 1
    await peer.until(finals, "final")
    if peer.said["ERROR"]:
        await peer.until_ended()
        assert peer.said["ERROR"] == 1, peer.said
        return
    await peer.until(pings, "pong")
    await peer.send(frame(CLOSE, b"\x03\xe8"))
    await peer.until_ended()
    assert (peer.said["CONNECT"], peer.said["pong"]) == (1, pings), peer.said
    is_counted = query == QUERY and sent.audio_bytes < SILENCE_BYTES
    assert peer.said["final"] == finals if is_counted else peer.said["final"] >= finals, peer.said
    assert peer.said["ACKAUDIO"] == (sent.frames if query == QUERY else 0), peer.said


async def _close(peer: Peer, random: Random) -> None:
    await peer.send(frame(CLOSE, random.choice((b"", b"\x03\xe8", b"\x0b\xb8done"))))
    await peer.until_ended()


async def _half_close(peer: Peer, _random: Random) -> None:
    peer.half_close()
    await peer.until_ended()


async def _abort(peer: Peer, _random: Random) -> None:
    await peer.leave(rudely=True)


async def _break_off(peer: Peer, random: Random) -> None:
    """In the middle of a frame, or of a message."""
    begun = frame(BINARY, b"x" * 4000)
    part = frame(TEXT, b"{", is_last=False)
    await peer.send(random.choice((part, begun[: random.randint(1, 3999)])))
    await peer.leave(rudely=random.random() < 0.5)


async def _break_protocol(peer: Peer, random: Random) -> None:
    """A frame that RFC 6455 forbids: the server ends the connection."""
    await peer.send(random.choice(FORBIDDEN))
    await peer.until_ended()


FORBIDDEN = (
    frame(TEXT, b"\xff\xfe"),
    frame(TEXT, b"ab", is_last=False) + frame(CONTINUATION, b"\xc3"),
    frame(TEXT, b"no mask", is_masked=False),
    frame(0x3, b""),
    frame(PING, b"x" * 126),
    frame(PING, b"", is_last=False),
    frame(CONTINUATION, b"of nothing"),
    frame(TEXT, b"a", is_last=False) + frame(BINARY, b"b"),
    frame(CLOSE, b"\x03"),
    frame(CLOSE, b"\x03\xee"),
    frame(CLOSE, b"\x03\xe8\xff"),
    b"\xf2\x80\0\0\0\0",
    frame(BINARY, b"\0" * (1024 * 1024 + 1)),
    b"\x82\xff" + b"\xff" * 8 + b"\0\0\0\0",
)
ENDS = (*(None,) * 6, _close, _half_close, _abort, _break_off, _break_protocol)
