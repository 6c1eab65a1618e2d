"""A server that speaks the extension, without a network: what it hears follows from the bytes."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from stapes.audio.encodings import Encoding
from stapes.client.resuming import SETTLING_MS
from stapes.protocol.extension import Finalized, NumberedResult, ResumableConnect
from stapes.protocol.messages import Token, Transcription

PAUSE = 0

Sent = NumberedResult | Finalized


class Server:
    """Hears an utterance in every run of bytes up to a pause; forgets what it has not saved."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
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
            session_id="s",
            resume_from=len(self.audio),
            results_from=min(last_result, len(self.finals)) + 1,
        )

    def take(self, frame: bytes | str) -> None:
        """A frame arrives whole."""
        if isinstance(frame, str):
            self.cut(is_asked=True)
            self.outbox.append(
                Finalized(number=len(self.finals), through_ms=self._ms(len(self.audio)))
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
        final = self._result(text, number, is_final=True)
        if text:
            self.finals.append(final)
            while self.through - self.saved_through > self.encoding.ms_to_bytes(SETTLING_MS):
                self.saved += 1
        if text or is_asked:
            self.outbox.append(final)

    def show(self) -> None:
        """A partial of the utterance that is under way."""
        if text := spoken(bytes(self.audio[self.through :])):
            self.outbox.append(self._result(text, len(self.finals) + 1, is_final=False))

    def save(self) -> None:
        """Everything told so far will be remembered."""
        self.saved = len(self.finals)

    def crash(self) -> None:
        """Only what was saved is left."""
        del self.finals[self.saved :]
        del self.audio[self.through :]

    def _result(self, text: str, number: int, *, is_final: bool) -> NumberedResult:
        start, end = self.through, len(self.audio)
        place = (self._ms(start), self._ms(end), number, end if is_final else None)
        return result(text, *place)

    def _ms(self, count: int) -> int:
        return self.encoding.bytes_to_ms(count)


def spoken(audio: bytes) -> str:
    """What is heard in audio: its bytes that are no pause."""
    return audio.replace(bytes([PAUSE]), b"").hex()


def result(
    text: str, start_ms: int, end_ms: int, number: int, through_byte: int | None
) -> NumberedResult:
    """A result of one word; a final when it tells how far it accounts for audio."""
    word = Token(
        token=text, start_time_in_ms=start_ms, end_time_in_ms=end_ms, confidence=1.0, type="WORD"
    )
    shown = Transcription(
        transcription=text,
        is_final=through_byte is not None,
        start_time_in_ms=start_ms,
        end_time_in_ms=end_ms,
        trailing_silence=0,
        confidence=1.0,
        tokens=(word,) if text else (),
    )
    return NumberedResult(
        session_id="s", transcriptions=(shown,), number=number, through_byte=through_byte
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
