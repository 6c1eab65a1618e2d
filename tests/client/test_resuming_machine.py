"""The books of a session against a network that cuts and a server that forgets."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stapes.audio.encodings import Encoding
from stapes.client.results import Final
from stapes.client.resuming import Resuming
from stapes.errors import BufferOverflowError, ClientError, ConnectionLostError
from stapes.protocol.extension import Finalized, ResumableConnect
from stapes.protocol.messages import Connect, Result, SendFinalResult
from tests.client.simulated import PAUSE, Server, result, spoken, uninterrupted

# One byte is a second, so that the limits of time are small numbers of bytes.
ENCODING = Encoding(1, "mulaw", 1)
BUFFER_BYTES = 4_000
SEND_FINAL = SendFinalResult().encode()


class CutsAndCrashes(RuleBasedStateMachine):
    """Any order of speaking, asking, delivering, cutting and crashing."""

    @initialize()
    def begin(self) -> None:
        self.server = Server(ENCODING)
        self.books = Resuming(ENCODING, buffer_bytes=BUFFER_BYTES, is_acknowledged=False)
        self.upstream: deque[bytes | str] = deque()
        self.audio = bytearray()
        self.asked_at: set[int] = set()
        self.told: list[Final] = []
        self.is_by_audio = True
        self.books.connected(self.server.connect(0))

    @rule(size=st.integers(1, 60), random=st.randoms(use_true_random=False))
    def speak(self, size: int, random: Random) -> None:
        audio = bytes(random.choices([PAUSE, 1, 2, 3], [1, 4, 4, 4], k=size))
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
    def fall_silent(self) -> None:
        """The wall clock ends an utterance, which nothing in the audio tells."""
        self.server.cut(is_asked=False)
        self.is_by_audio = False

    @rule()
    def save(self) -> None:
        self.server.save()

    def hear(self) -> None:
        if not self.books.is_connected or not self.server.outbox:
            return
        message = self.server.outbox.popleft()
        if isinstance(message, Finalized):
            return
        if isinstance(heard := self.books.heard(message), Final):
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
        through = heard[-1][2] if heard else 0
        assert "".join(text for text, _, _ in heard) == spoken(bytes(self.audio[:through]))
        if self.is_by_audio:
            assert heard == uninterrupted(bytes(self.audio), self.asked_at)[: len(heard)]
        assert self.told == self.books.finals

    def teardown(self) -> None:
        """At rest: everything that was said is told."""
        self.reconnect()
        if len(self.audio) not in self.asked_at:
            self.ask()
        for _ in range(10_000):
            self.send()
            self.arrive()
            self.hear()
            if self.books.is_answered(len(self.audio)) and not self.server.outbox:
                break
        assert self.books.is_answered(len(self.audio))
        self.nothing_is_told_twice_or_otherwise()
        assert "".join(final.text for final in self.told) == spoken(bytes(self.audio))


CutsAndCrashes.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow],
)
TestCutsAndCrashes = CutsAndCrashes.TestCase


def _books(buffer_bytes: int = BUFFER_BYTES) -> Resuming:
    books = Resuming(ENCODING, buffer_bytes=buffer_bytes, is_acknowledged=False)
    books.connected(ResumableConnect(session_id="s", resume_from=0, results_from=1))
    return books


def _send_all(books: Resuming) -> None:
    while books.next_frame() is not None:
        pass


def test_audio_that_has_no_room_is_not_taken() -> None:
    """While the server is away; what was taken before is still there."""
    books = _books(buffer_bytes=10)
    books.lost()
    books.put(bytes(10))
    with pytest.raises(BufferOverflowError, match=r"10\.0 s of audio wait .* 1\.0 s more"):
        books.put(b"\1")
    assert books.unsent_bytes == 10


def test_half_of_the_buffer_is_free_when_the_server_goes() -> None:
    """However long nothing was said, so that no final accounts for any audio."""
    books = _books(buffer_bytes=10)
    for _ in range(10):
        books.put(bytes(3))
        _send_all(books)
    books.lost()
    books.put(bytes(5))
    with pytest.raises(BufferOverflowError):
        books.put(bytes(1))


def test_audio_that_is_not_kept_cannot_be_sent_again() -> None:
    """The error says how much is missing."""
    books = _books(buffer_bytes=10)
    books.put(bytes(30))
    _send_all(books)
    books.lost()
    with pytest.raises(ConnectionLostError, match=r"25\.0 s of audio that are not kept"):
        books.connected(ResumableConnect(session_id="s", resume_from=0, results_from=1))


def test_audio_is_kept_until_it_is_sent() -> None:
    """Though it is more than the buffer holds: while the server is there, the sender waits."""
    books = _books(buffer_bytes=10)
    books.put(bytes(range(30)))
    frames = iter(books.next_frame, None)
    assert b"".join(frame for frame in frames if isinstance(frame, bytes)) == bytes(range(30))


def test_acknowledgements_open_the_window() -> None:
    """Ten seconds may be on their way."""
    books = Resuming(ENCODING, buffer_bytes=BUFFER_BYTES, is_acknowledged=True)
    books.connected(ResumableConnect(session_id="s", resume_from=0, results_from=1))
    books.put(bytes(30))
    assert [books.next_frame() for _ in range(11)] == [bytes(1)] * 10 + [None]
    books.acknowledged(1)
    assert books.next_frame() == bytes(1)


def test_requests_that_were_not_answered_are_made_again() -> None:
    """At their place in the audio; unless the server has taken audio that came after them."""
    books = _books()
    books.put(bytes(2))
    books.request_final()
    _send_all(books)
    for resume_from, frames in ((1, [bytes(1), SEND_FINAL]), (2, [SEND_FINAL])):
        books.lost()
        books.connected(ResumableConnect(session_id="s", resume_from=resume_from, results_from=1))
        assert list(iter(books.next_frame, None)) == frames
    books.put(bytes(1))
    books.lost()
    books.connected(ResumableConnect(session_id="s", resume_from=3, results_from=1))
    assert books.next_frame() is None


def test_forgotten_finals_end_where_they_ended() -> None:
    """Whatever ended them before; they are not told again, and those after them are."""
    books = _books()
    books.put(b"\1\2\3")
    _send_all(books)
    assert books.heard(result("0102", 0, 2000, 1, 2)) is not None
    books.lost()
    books.connected(ResumableConnect(session_id="s", resume_from=0, results_from=1))
    assert list(iter(books.next_frame, None)) == [b"\1", b"\2", SEND_FINAL, b"\3"]
    assert books.heard(result("01", 0, 1000, 1, None)) is None
    assert books.heard(result("01", 0, 1000, 1, 1)) is None
    assert books.heard(result("02", 1000, 2000, 2, 2)) is None
    assert books.heard(result("03", 2000, 3000, 3, 3)) is not None


@pytest.mark.parametrize(
    "message",
    [
        Connect(session_id="s"),
        ResumableConnect(session_id="other", resume_from=0, results_from=1),
    ],
)
def test_another_session_is_no_resume(message: Connect) -> None:
    """By its name, or by a server that does not know how."""
    books = _books()
    books.lost()
    with pytest.raises(ConnectionLostError, match="another session"):
        books.connected(message)


def test_nonsense_of_the_server_is_told() -> None:
    """Audio that was never said, finals that are left out or have no number."""
    books = _books()
    with pytest.raises(ClientError, match="from byte 1 of 0"):
        books.connected(ResumableConnect(session_id="s", resume_from=1, results_from=1))
    with pytest.raises(ClientError, match="final 2 after 0"):
        books.heard(result("a", 0, 0, 2, 0))
    with pytest.raises(ClientError, match="without its place"):
        books.heard(result("a", 0, 0, 1, 0).model_copy(update={"number": None}))


def test_plain_results_need_no_numbers() -> None:
    """Every final is new, and its time says how far it goes."""
    books = Resuming(ENCODING, buffer_bytes=10, is_acknowledged=False)
    books.connected(Connect(session_id="s"))
    books.put(bytes(5))
    position = books.request_final()
    shown = result("a", 0, 5000, 1, 5).transcriptions
    assert books.heard(Result(session_id="s", transcriptions=shown)) is not None
    assert books.heard(Result(session_id="s", transcriptions=shown)) is not None
    assert books.is_answered(position)
