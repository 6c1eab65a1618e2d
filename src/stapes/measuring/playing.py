"""One session over some audio, and when each result came: what every measurement looks at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stapes.audio.encodings import Pcm
from stapes.client.connecting import connect
from stapes.client.profile import Server
from stapes.client.results import Result
from stapes.client.session import Session
from stapes.measuring.clips import RATE_HZ, speech_span_ms

CHUNK_MS = 40
FAST_CHUNK_MS = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """A result and when it came: seconds since the stream's first audio was spoken."""

    at_s: float
    result: Result


@dataclass(frozen=True, slots=True)
class Script:
    """Audio to be played, and where in it speech truly begins and ends, ms.

    ``spans_ms`` has one pair for each clip in it; silence follows each.
    """

    pcm: Pcm
    spans_ms: tuple[tuple[int, int], ...]


def script(clips: Sequence[Pcm], silence_ms: int) -> Script:
    """The clips one after another, each cut to its speech, with digital silence around it."""
    silence = np.zeros(silence_ms * RATE_HZ // 1000, np.int16)
    pieces: list[Pcm] = [silence[: RATE_HZ // 2]]
    spans = []
    for clip in clips:
        at_ms = sum(map(len, pieces)) * 1000 // RATE_HZ
        begin_ms, end_ms = speech_span_ms(clip)
        spans.append((at_ms + begin_ms, at_ms + end_ms))
        pieces += [clip[: end_ms * RATE_HZ // 1000], silence]
    return Script(np.concatenate(pieces), tuple(spans))


async def play(
    server: Server,
    pcm: Pcm,
    parameters: Mapping[str, str],
    *,
    fast: bool = False,
    noted: Callable[[Shown], None] = lambda _shown: None,
) -> list[Shown]:
    """Every result of a session over ``pcm``, sent as it is spoken, or as fast as it is taken.

    Raises `ClientError` for what the server does.
    """
    shown: list[Shown] = []
    async with connect(
        server.url,
        profile=server.profile,
        compartment_id=server.compartment_id,
        parameters=parameters,
    ) as session:
        began_at = time.monotonic()
        sending = asyncio.create_task(_send(session, pcm.tobytes(), None if fast else began_at))
        try:
            async for result in session:
                shown.append(Shown(time.monotonic() - began_at, result))
                noted(shown[-1])
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return shown


async def _send(session: Session, audio: bytes, began_at: float | None) -> None:
    """Send, from ``began_at`` on no sooner than a speaker would have finished each chunk."""
    chunk_ms = FAST_CHUNK_MS if began_at is None else CHUNK_MS
    size = chunk_ms * RATE_HZ // 1000 * 2
    for number, start in enumerate(range(0, len(audio), size), 1):
        if began_at is not None:
            await asyncio.sleep(began_at + number * chunk_ms / 1000 - time.monotonic())
        await session.send(audio[start : start + size])
    await session.finish()


def text_of(shown: Sequence[Shown]) -> str:
    """The finals, joined."""
    return " ".join(each.result.text for each in shown if each.result.is_final)
