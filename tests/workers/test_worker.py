"""A worker's streams: in lockstep, each on its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import soundfile

from stapes import samples
from stapes.engines.hearing import ListenerParams
from stapes.engines.port import Engine, HearingParams, Pcm, Segment, Turn
from stapes.engines.scripted import ScriptedEngine
from stapes.engines.sherpa import SherpaEngine
from stapes.errors import EngineError
from stapes.protocol.heard import UtteranceHeard
from stapes.workers.frames import FrameReader, Kind, Report, decode_report, encode_opening
from stapes.workers.worker import Worker
from tests.engines.models import DIGITS

PARAMS = encode_opening(ListenerParams("audio/raw;rate=16000", HearingParams(), 0, 600))

Said = list[tuple[Kind, int, bytes]]


class Failing(ScriptedEngine):
    """Takes no turn of more than one stream."""

    def take_together(self, turns: Sequence[Turn]) -> Sequence[Sequence[Segment]]:
        if len(turns) > 1:
            raise EngineError("too many")
        return [turn.take() for turn in turns]


class Counting(SherpaEngine):
    """Counts the streams of each batch."""

    def __init__(self) -> None:
        super().__init__(DIGITS)
        self.batches: list[int] = []

    def take_together(self, turns: Sequence[Turn]) -> Sequence[Sequence[Segment]]:
        self.batches.append(len(turns))
        return super().take_together(turns)


class Bench:
    """A worker on one end of a socket, and what it says on the other."""

    def __init__(self, engine: Engine, ours: socket.socket, theirs: socket.socket) -> None:
        self._ours = ours
        self._reader = FrameReader()
        self.worker = Worker(engine, theirs)
        self.said: Said = []

    def run(self) -> None:
        """Step until nothing waits."""
        while self.worker.busy:
            self.worker.step()
            self.listen()

    def listen(self) -> None:
        try:
            while data := self._ours.recv(65536):
                self.said += self._reader.feed(data)
        except BlockingIOError:
            return

    def reports(self, stream: int) -> list[Report]:
        return [
            decode_report(payload)
            for kind, number, payload in self.said
            if kind is Kind.HEARD and number == stream
        ]

    def texts(self, stream: int) -> list[str]:
        return [
            word.text
            for report in self.reports(stream)
            for item in report.items
            if isinstance(item, UtteranceHeard)
            for word in item.words
        ]


@contextmanager
def bench(engine: Engine) -> Iterator[Bench]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield Bench(engine, ours, theirs)


def speech() -> Pcm:
    pcm, _ = soundfile.read(samples.load("digits").path, dtype="int16")
    return np.asarray(pcm[: 4 * 16000], np.int16)


def test_streams_are_heard_together_as_alone() -> None:
    """Turns of all streams that have audio are one batch, and each hears what it hears alone."""
    pieces = [speech()[start:].tobytes() for start in (0, 3000, 9000)]
    alone = []
    for piece in pieces:
        with bench(SherpaEngine(DIGITS)) as single:
            single.worker.take(Kind.OPEN, 1, PARAMS)
            single.worker.take(Kind.AUDIO, 1, piece)
            single.worker.take(Kind.FLUSH, 1, b"")
            single.run()
            alone.append(single.reports(1))
    engine = Counting()
    with bench(engine) as many:
        for stream, piece in enumerate(pieces, start=1):
            many.worker.take(Kind.OPEN, stream, PARAMS)
            many.worker.take(Kind.AUDIO, stream, piece)
            many.worker.take(Kind.FLUSH, stream, b"")
        many.run()
        assert [many.reports(stream) for stream in (1, 2, 3)] == alone
    assert max(engine.batches) == 3
    assert any(report.items for reports in alone for report in reports)


def test_a_failed_batch_ends_its_streams_alone() -> None:
    """The worker says so of each, and goes on with others."""
    with bench(Failing()) as many:
        for stream in (1, 2):
            many.worker.take(Kind.OPEN, stream, PARAMS)
            many.worker.take(Kind.AUDIO, stream, speech().tobytes())
        many.run()
        failed = [number for kind, number, _ in many.said if kind is Kind.FAILED]
        assert sorted(failed) == [1, 2]
        many.worker.take(Kind.OPEN, 3, PARAMS)
        many.worker.take(Kind.AUDIO, 3, speech().tobytes())
        many.worker.take(Kind.FLUSH, 3, b"")
        many.run()
        assert many.texts(3)


def test_a_closed_stream_is_heard_no_more() -> None:
    """What waits of it is dropped."""
    with bench(ScriptedEngine()) as many:
        many.worker.take(Kind.OPEN, 1, PARAMS)
        many.worker.take(Kind.AUDIO, 1, speech().tobytes())
        many.worker.step()
        many.worker.take(Kind.CLOSE, 1, b"")
        assert not many.worker.busy
        many.worker.take(Kind.AUDIO, 1, b"\0\0")
        assert not many.worker.busy
