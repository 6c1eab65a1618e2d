"""A stream's recogniser that outlives its worker: what was not heard to the end is heard again.

What was fed since the last checkpoint is kept. When the worker dies, another one goes on from the
checkpoint and is fed that; what the session knows already is not said again. Words, times and
confidences are those that the first worker would have come to, so nobody notices but by a pause.
A stream whose workers die twice at the same place is what kills them: it fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from stapes.engines.hearing import ListenerParams
from stapes.errors import EngineError, InternalServerError
from stapes.protocol.events import (
    AudioHeard,
    Checkpoint,
    Event,
    PartialArrived,
    RecogniserFailed,
    UtteranceArrived,
)
from stapes.protocol.heard import UtteranceHeard
from stapes.workers.frames import Report, encode_opening
from stapes.workers.links import Line, Owner
from stapes.workers.worker import SLICE_BYTES

log = structlog.get_logger("stapes.workers")

Post = Callable[[Event], None]

MOST_KEPT_BYTES = 8 * 1024 * 1024
"""Of audio since the last checkpoint: four minutes at 16 kHz. An utterance takes one at most, and
what waits to be heard is bounded by the session."""

REOPEN_TIMEOUT_S = 30.0
"""Longest wait for another recogniser: the engine's process may have to be started again."""

FIRST_PAUSE_S = 0.05


class Source(Protocol):
    """Where recognisers come from."""

    replays: asyncio.Semaphore
    is_closed: bool

    async def connect(self, owner: Owner, opening: bytes) -> Line:
        """A recogniser that is ready. Raises `EngineError`, `OSError`, `TimeoutError`."""
        ...

    def disconnect(self, line: Line) -> None:
        """Let go of a recogniser, be it alive or not."""
        ...

    def give_back(self) -> None:
        """A stream has ended: another one may come."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the streams, until the source is closed."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """How far a stream was heard, on its own timeline, and how much speech there was."""

    byte: int
    speech_ms: int

    def beyond(self, report: Report) -> Place:
        """The place when this was heard, too."""
        return Place(self.byte + report.audio_bytes, self.speech_ms + report.speech_ms)


class Log:
    """What was fed behind a checkpoint: pieces of audio, and flushes (None), in order."""

    def __init__(self, start_byte: int) -> None:
        self._start = self.end = start_byte
        self.entries: deque[bytes | None] = deque()

    @property
    def is_full(self) -> bool:
        """Whether it has come to hold more than it may."""
        return self.end - self._start > MOST_KEPT_BYTES

    def add(self, entry: bytes | None) -> None:
        """Keep a piece of audio or a flush; of a full log, nothing but the length is kept."""
        self.end += len(entry or b"")
        if self.is_full:
            self.entries.clear()
        else:
            self.entries.append(entry)

    def drop(self, through_byte: int, *, is_answered: bool) -> None:
        """Forget the audio before a byte, and a flush that was answered there."""
        while self._start < through_byte and self.entries:
            audio = self.entries.popleft() or b""
            rest = audio[through_byte - self._start :]
            self._start += len(audio) - len(rest)
            if rest:
                self.entries.appendleft(rest)
        if is_answered and self.entries:
            self.entries.popleft()
        self._start = through_byte


class Ear:
    """One stream's recogniser, in whichever worker; events go to the ``post`` it came with."""

    def __init__(
        self, source: Source, params: ListenerParams, post: Post, checkpoint: Checkpoint | None
    ) -> None:
        self._source = source
        self._params = params
        self._post = post
        self._checkpoint = checkpoint
        self._kept = Place(checkpoint.audio_bytes if checkpoint else 0, 0)
        self._reached = self._told = self._kept
        self._log = Log(self._kept.byte)
        self._line: Line | None = None
        self._suspected_to: int | None = None
        self._caught_up = asyncio.Event()
        self._caught_up_at = 0
        self._is_over = False

    @property
    def is_suspect(self) -> bool:
        """Whether its worker died, and the audio of that place has not been heard since."""
        return self._suspected_to is not None

    async def open(self) -> None:
        """Take the first recogniser; one that dies as it opens is nobody's fault.

        Raises `EngineError`, `OSError`, `TimeoutError`.
        """
        try:
            self._line = await self._connect()
        except EngineError:
            self._line = await self._connect()

    def feed(self, audio: bytes) -> None:
        """Give audio. The caller bounds what it feeds ahead of the `AudioHeard` that come back."""
        if audio:
            self._log.add(audio)
            if self._line is not None:
                self._line.feed(audio)

    def flush(self) -> None:
        """End the utterance now; one `UtteranceArrived` with ``is_answer`` follows."""
        self._log.add(None)
        if self._line is not None:
            self._line.flush()

    def release(self) -> None:
        """Give the recogniser back. Safe to call twice."""
        if self._line is not None:
            self._hang_up(self._line)
        if not self._is_over:
            self._end()

    def take_report(self, report: Report) -> None:
        """Pass on what is new to the session, the account of the audio last."""
        self._reached = self._reached.beyond(report)
        is_new = self._reached.byte > self._told.byte
        ended = [at for at, it in enumerate(report.items) if isinstance(it, UtteranceHeard)]
        for at, item in enumerate(report.items):
            if isinstance(item, UtteranceHeard):
                # The checkpoint is behind the last of them; words of the next may follow already.
                is_last = at == ended[-1]
                answers = report.is_answer and is_last
                self._post(UtteranceArrived(item, answers, report.checkpoint if is_last else None))
            elif is_new:
                self._post(PartialArrived(item))
        if report.checkpoint is not None:
            self._keep(report.checkpoint, is_answered=report.is_answer)
        if is_new or report.is_answer:
            self._account(report)
        if self._suspected_to is not None and self._reached.byte > self._suspected_to:
            self._suspected_to = None
        if self._reached.byte >= self._caught_up_at:
            self._caught_up.set()

    def lose(self, cause: str) -> None:
        """The recogniser is gone: go on with another one, or fail when that was tried here."""
        if self._line is not None:
            self._hang_up(self._line)
        self._caught_up.set()
        if self._is_over:
            return
        if self._source.is_closed:
            self._fail(cause)
        elif self.is_suspect:
            self._fail(f"twice at the same place: {cause}")
        elif self._log.is_full:
            self._fail(f"too long ago that it could begin again: {cause}")
        else:
            # A worker reports piece by piece: it died of the next one, if it died of any.
            self._suspected_to = self._told.byte + SLICE_BYTES
            self._source.spawn(self._go_on())

    async def _go_on(self) -> None:
        """Feed another recogniser what was fed since the checkpoint, a few streams at a time."""
        async with self._source.replays:
            try:
                line = await self._reconnect()
            except Exception as error:  # the boundary of a stream: whatever broke, it is told
                self._fail(f"no other recogniser: {error!r}")
                return
            if self._is_over:
                self._hang_up(line)
                return
            self._replay(line)
            await self._caught_up.wait()

    def _replay(self, line: Line) -> None:
        self._line = line
        self._reached = self._kept
        self._caught_up_at = self._log.end
        if self._log.entries:
            self._caught_up.clear()
        for entry in self._log.entries:
            if entry is None:
                line.flush()
            else:
                line.feed(entry)
        log.info("replaying", bytes=self._log.end - self._kept.byte)

    async def _reconnect(self) -> Line:
        pause_s = FIRST_PAUSE_S
        async with asyncio.timeout(REOPEN_TIMEOUT_S):
            while True:
                try:
                    return await self._connect()
                except (EngineError, OSError, TimeoutError):
                    if self._is_over:
                        raise
                    await asyncio.sleep(pause_s)
                    pause_s *= 2

    async def _connect(self) -> Line:
        return await self._source.connect(self, encode_opening(self._params, self._checkpoint))

    def _keep(self, checkpoint: Checkpoint, *, is_answered: bool) -> None:
        self._checkpoint, self._kept = checkpoint, self._reached
        self._log.drop(checkpoint.audio_bytes, is_answered=is_answered)

    def _account(self, report: Report) -> None:
        reached, told = self._reached, self._told
        self._told = reached
        self._post(
            AudioHeard(
                reached.byte - told.byte,
                reached.speech_ms - told.speech_ms,
                report.is_pending,
                report.checkpoint,
            )
        )

    def _fail(self, cause: str) -> None:
        if not self._is_over:
            log.error("stream failed", cause=cause)
            self._post(RecogniserFailed(InternalServerError(cause)))

    def _hang_up(self, line: Line) -> None:
        self._line = None
        self._source.disconnect(line)

    def _end(self) -> None:
        self._is_over = True
        self._log = Log(self._log.end)
        self._caught_up.set()
        self._source.give_back()
