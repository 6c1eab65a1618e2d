"""The books of a session against a network that cuts and a server that forgets."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stapes.audio.encodings import Encoding
from stapes.client.results import Final
from stapes.client.resuming import SETTLING_MS, Resuming
from stapes.errors import BufferOverflowError
from stapes.protocol.extension import Finalized, NumberedResult, ResumableConnect
from stapes.protocol.messages import Result, Token, Transcription

# One byte is a second, so that the limits of time are small numbers of bytes.
ENCODING = Encoding(1, "mulaw", 1)
SETTLING_BYTES = ENCODING.ms_to_bytes(SETTLING_MS)
BUFFER_BYTES = 4_000
PAUSE = 0

Sent = NumberedResult | Finalized


class Server:
    """Hears an utterance in every run of bytes up to a pause; forgets what it has not saved."""

    def __init__(self) -> None:
        self.audio = bytearray()
        self.finals: list[NumberedResult] = []
        self.saved = 0
        self.outbox: deque[Sent] = deque()

    @property
    def through(self) -> int:
        """All audio before it is in finals."""
        return self.finals[-1].through_byte or 0 if self.finals else 0

    @property
    def saved_through(self) -> int:
        """All audio before it is in finals that are saved."""
        return self.finals[self.saved - 1].through_byte or 0 if self.saved else 0

    def connect(self, last_result: int) -> ResumableConnect:
        """A socket opens; the finals that the client lacks follow."""
        self.outbox = deque(self.finals[last_result:])
        return ResumableConnect(
            session_id="s", resume_from=len(self.audio), results_from=len(self.finals) + 1
        )

    def take(self, frame: bytes | str) -> None:
        """A frame arrives whole."""
        if isinstance(frame, str):
            self.cut(is_asked=True)
            self.outbox.append(
                Finalized(number=len(self.finals), through_ms=1000 * len(self.audio))
            )
            return
        for byte in frame:
            self.audio.append(byte)
            if byte == PAUSE:
                self.cut(is_asked=False)

    def cut(self, *, is_asked: bool) -> None:
        """End the utterance: a final, or an empty one that was asked for, which bears no number."""
        heard = bytes(self.audio[self.through :])
        text = spoken(heard)
        number = len(self.finals) + (1 if text else 0)
        final = result(text, self.through, len(self.audio), number, is_final=True)
        if text:
            self.finals.append(final)
            while self.through - self.saved_through > SETTLING_BYTES:
                self.saved += 1
        if text or is_asked:
            self.outbox.append(final)

    def show(self) -> None:
        """A partial of the utterance that is under way."""
        if text := spoken(bytes(self.audio[self.through :])):
            place = (self.through, len(self.audio), len(self.finals) + 1)
            self.outbox.append(result(text, *place, is_final=False))

    def save(self) -> None:
        """Everything told so far will be remembered."""
        self.saved = len(self.finals)

    def crash(self) -> None:
        """Only what was saved is left."""
        del self.finals[self.saved :]
        del self.audio[self.through :]


def spoken(audio: bytes) -> str:
    """What is heard in audio: its bytes that are no pause."""
    return audio.replace(bytes([PAUSE]), b"").hex()


def result(text: str, start: int, end: int, number: int, *, is_final: bool) -> NumberedResult:
    """A result over the bytes from ``start`` to ``end``."""
    word = Token(
        token=text,
        start_time_in_ms=1000 * start,
        end_time_in_ms=1000 * end,
        confidence=1.0,
        type="WORD",
    )
    shown = Transcription(
        transcription=text,
        is_final=is_final,
        start_time_in_ms=1000 * start,
        end_time_in_ms=1000 * end,
        trailing_silence=0,
        confidence=1.0,
        tokens=(word,) if text else (),
    )
    through = end if is_final else None
    return NumberedResult(
        session_id="s", transcriptions=(shown,), number=number, through_byte=through
    )


def uninterrupted(audio: bytes, asked_at: set[int]) -> list[tuple[str, int, int]]:
    """Text, start and end of every utterance when nothing is ever cut."""
    ends = {at + 1 for at, byte in enumerate(audio) if byte == PAUSE} | asked_at
    places = list(pairwise(sorted({0, *ends})))
    # An answer without words ends no utterance: the next one begins where the last final ended.
    heard, begin = [], 0
    for _, end in places:
        if text := spoken(audio[begin:end]):
            heard.append((text, begin, end))
            begin = end
    return heard


class CutsAndCrashes(RuleBasedStateMachine):
    """Any order of speaking, asking, delivering, cutting and crashing."""

    @initialize()
    def begin(self) -> None:
        self.server = Server()
        self.books = Resuming(ENCODING, buffer_bytes=BUFFER_BYTES, is_acknowledged=False)
        self.upstream: deque[bytes | str] = deque()
        self.audio = bytearray()
        self.asked_at: set[int] = set()
        self.told: list[Final] = []
        self.books.connected(self.server.connect(0))

    @rule(audio=st.binary(max_size=40).map(lambda text: bytes(byte % 4 for byte in text)))
    def speak(self, audio: bytes) -> None:
        self.books.put(audio)
        self.audio += audio

    @rule()
    def ask(self) -> None:
        position = self.books.request_final()
        assert position == len(self.audio)
        if not self.books.is_answered(position):
            self.asked_at.add(position)

    @rule(sent=st.integers(0, 100), arrived=st.integers(0, 100), heard=st.integers(0, 30))
    def flow(self, sent: int, arrived: int, heard: int) -> None:
        for act, times in ((self.send, sent), (self.arrive, arrived), (self.hear, heard)):
            for _ in range(times):
                act()

    def send(self) -> None:
        if self.books.is_connected and (frame := self.books.next_frame()) is not None:
            self.upstream.append(frame)

    def arrive(self) -> None:
        if self.upstream:
            self.server.take(self.upstream.popleft())

    @rule()
    def show(self) -> None:
        self.server.show()

    @rule()
    def save(self) -> None:
        self.server.save()

    def hear(self) -> None:
        if not self.books.is_connected or not self.server.outbox:
            return
        message = self.server.outbox.popleft()
        if isinstance(message, Finalized):
            self.books.finalized(message.through_ms)
        elif isinstance(heard := self.books.heard(message), Final):
            self.told.append(heard)

    @rule(arrived=st.integers(0, 60))
    def cut(self, arrived: int) -> None:
        """Some of what is on its way still arrives; the rest and all answers are lost."""
        for _ in range(min(arrived, len(self.upstream))):
            self.server.take(self.upstream.popleft())
        self.upstream.clear()
        self.server.outbox.clear()
        self.books.lost()

    @rule(arrived=st.integers(0, 60))
    def crash(self, arrived: int) -> None:
        self.cut(arrived)
        self.server.crash()

    @rule()
    def reconnect(self) -> None:
        if not self.books.is_connected:
            self.books.connected(self.server.connect(self.books.last_result))

    @invariant()
    def server_has_the_audio_without_gap_or_double(self) -> None:
        assert self.audio.startswith(self.server.audio)

    @invariant()
    def nothing_is_told_twice_or_otherwise(self) -> None:
        heard = [(each.text, each.start_ms // 1000, each.end_ms // 1000) for each in self.told]
        assert heard == uninterrupted(self.audio, self.asked_at)[: len(heard)]
        assert self.told == self.books.finals

    def teardown(self) -> None:
        """At rest: everything that was said is told."""
        self.reconnect()
        self.ask()
        for _ in range(10_000):
            self.send()
            self.arrive()
            self.hear()
            if self.books.is_answered(len(self.audio)) and not self.server.outbox:
                break
        assert self.books.is_answered(len(self.audio))
        self.nothing_is_told_twice_or_otherwise()
        assert len(self.told) == len(uninterrupted(self.audio, self.asked_at))


CutsAndCrashes.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow],
)
TestCutsAndCrashes = CutsAndCrashes.TestCase


def test_audio_that_is_not_taken_changes_nothing() -> None:
    """It can be put again when there is room."""
    books = Resuming(ENCODING, buffer_bytes=10, is_acknowledged=False)
    books.connected(Server().connect(0))
    books.lost()
    books.put(bytes(10))
    try:
        books.put(b"\1")
    except BufferOverflowError:
        assert books.unsent_bytes == 10
    else:
        raise AssertionError


def test_plain_results_need_no_numbers() -> None:
    """Every final is new."""
    books = Resuming(ENCODING, buffer_bytes=10, is_acknowledged=False)
    shown = result("a", 0, 5, 1, is_final=True).transcriptions
    for _ in range(2):
        assert books.heard(Result(session_id="s", transcriptions=shown)) is not None
