"""How many streams a service hears in real time before its finals come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stapes.client.profile import Server
from stapes.errors import ClientError, MeasuringError
from stapes.measuring.delays import Delays, delays, joined
from stapes.measuring.playing import Script, play

LATEST_MS = 300.0
"""How far beyond the threshold the 95th percentile of finals may lie."""

STAGGER_S = 0.37
"""Between the begins of two streams: speakers do not begin together."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a number of streams at once showed.

    Attributes:
        problem: why it could not be served.
        unheard: clips of which so many streams have no final in any case: one alone has none.
    """

    streams: int
    delays: Delays
    problem: str = ""
    unheard: int = 0

    @property
    def p95_ms(self) -> float | None:
        """How far beyond the threshold finals came, 95th percentile."""
        return float(np.percentile(self.delays.final_ms, 95)) if self.delays.final_ms else None

    @property
    def missing(self) -> int:
        """How many finals did not come that one stream alone has."""
        return max(0, self.delays.missed - self.unheard)

    @property
    def kept_up(self) -> bool:
        """Whether every stream was served, with all its finals, and in time."""
        p95 = self.p95_ms
        in_time = p95 is not None and p95 <= LATEST_MS
        return not self.problem and in_time and not self.missing


async def step(
    server: Server,
    played: Script,
    parameters: Mapping[str, str],
    threshold_ms: int,
    streams: int,
) -> Step:
    """Play the script on that many streams at once, in real time."""

    async def one(number: int) -> Delays | str:
        await asyncio.sleep(number * STAGGER_S)
        try:
            shown = await play(server, played.pcm, parameters)
        except ClientError as error:
            return str(error)
        return delays(played, shown, threshold_ms)

    answers = await asyncio.gather(*(one(number) for number in range(streams)))
    problems = [answer for answer in answers if isinstance(answer, str)]
    found = [answer for answer in answers if isinstance(answer, Delays)]
    return Step(streams, joined(found), problems[0] if problems else "")


async def climb(
    server: Server,
    played: Script,
    parameters: Mapping[str, str],
    threshold_ms: int,
    most: int | None = None,
) -> AsyncIterator[Step]:
    """Steps of ever more streams, up to the first that did not keep up, or to ``most``.

    Steps grow by a quarter. One that did not keep up is played once more before it counts: the
    machine may have had something else to do for a moment. Raises `MeasuringError` when not even
    the first one has a final.
    """
    streams, unheard = 1, 0
    while most is None or streams <= most:
        found = await step(server, played, parameters, threshold_ms, streams)
        if streams == 1 and not found.delays.final_ms:
            raise MeasuringError(found.problem or "the service heard nothing in the audio")
        unheard = found.delays.missed if streams == 1 else unheard
        found = replace(found, unheard=unheard * streams)
        if not found.kept_up:
            found = await step(server, played, parameters, threshold_ms, streams)
            found = replace(found, unheard=unheard * streams)
        yield found
        if not found.kept_up:
            return
        streams += max(1, streams // 4)
