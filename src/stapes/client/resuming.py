"""One session across any number of sockets: what was sent, what is accounted for, what was heard.

Pure: no socket and no clock. The caller tells it what the program wants (`put`, `request_final`)
and what the network does (`connected`, `lost`, `heard`, `acknowledged`), and fetches with
`next_frame` what has to go out.

Audio is a timeline of bytes from 0. Everything here is a position on it::

    0        start        accounted      written        end
    ├ forgotten ┼ kept, covered ┼ on its way ┼ not yet sent ┤
                                 by no final

A socket that is lost puts ``written`` back to where the server asks for it (``resumeFrom``). What
finals account for is kept a little longer: a server that dies at the wrong moment has told a final
that it does not remember, and asks for that audio once more.
"""

from __future__ import annotations

from collections import deque

from stapes.audio.encodings import Encoding
from stapes.client.results import Final, Partial, Result, result_of
from stapes.errors import BufferOverflowError, ClientError, ConnectionLostError
from stapes.protocol.extension import NumberedResult, ResumableConnect
from stapes.protocol.messages import Connect, SendFinalResult
from stapes.protocol.messages import Result as ResultMessage

FRAME_MS = 1_000
WINDOW_MS = 10_000
"""Audio that may be unacknowledged: a fast sender stays near the recogniser."""

SETTLING_MS = 120_000
"""Audio that is kept although finals account for it: more than the longest utterance lasts."""


class Resuming:
    """The bookkeeping of one session.

    Args:
        encoding: of the audio.
        buffer_bytes: most audio that is kept for the server while it is away. While it is there,
            half of it, so that the other half is free when it goes.
        is_acknowledged: whether the server acknowledges audio.

    Attributes:
        session_id: the server's name for the session; empty before the first `connected`.
        is_resumable: whether the server speaks the extension.
        is_connected: whether there is a socket.
        last_result: number of the last final.
        finals: all finals with words.
    """

    def __init__(self, encoding: Encoding, *, buffer_bytes: int, is_acknowledged: bool) -> None:
        self.session_id = ""
        self.is_resumable = False
        self.is_connected = False
        self.last_result = 0
        self.finals: list[Final] = []
        self._encoding = encoding
        self._buffer_bytes = buffer_bytes
        self._window_bytes = encoding.ms_to_bytes(WINDOW_MS) if is_acknowledged else None
        self._unacknowledged_bytes = 0
        self._audio = bytearray()
        self._start = self._accounted = self._written = 0
        self._finalized_ms = -1
        self._cuts: set[int] = set()
        self._unasked: deque[int] = deque()

    # What the program wants

    def put(self, audio: bytes) -> None:
        """Take audio that follows all before it.

        Raises `BufferOverflowError`, and takes nothing of it, when the server is away and the
        buffer has no room for it.
        """
        if not self.is_connected and len(self._audio) + len(audio) > self._buffer_bytes:
            kept_s, wanted_s = (self._seconds(n) for n in (len(self._audio), len(audio)))
            raise BufferOverflowError(
                f"the server is away and {kept_s:.1f} s of audio wait for it: "
                f"{wanted_s:.1f} s more were not taken"
            )
        self._audio += audio
        self._forget()

    def request_final(self) -> int:
        """Ask for a final that covers all audio so far. Returns the position to wait for."""
        if not self.is_answered(self._end):
            self._cuts.add(self._end)
            self._unasked.append(self._end)
        return self._end

    def is_answered(self, position: int) -> bool:
        """Whether finals account for all audio before ``position``."""
        if self.is_resumable:
            return self._accounted >= position
        return self._finalized_ms >= self._encoding.bytes_to_ms(position)

    @property
    def unsent_bytes(self) -> int:
        """Audio that has not been fetched by `next_frame`."""
        return self._end - self._written

    @property
    def is_behind(self) -> bool:
        """Whether more than a frame of audio waits to be sent."""
        return self.unsent_bytes > self._encoding.ms_to_bytes(FRAME_MS)

    @property
    def open_s(self) -> float:
        """Seconds of audio that no final accounts for."""
        return self._seconds(self._end - self._accounted)

    # What the network does

    def connected(self, message: Connect) -> None:
        """A socket is open: the first one, or the next one of a stream that goes on.

        Raises `ConnectionLostError` when the server does not take the stream up where this side
        can go on, and `ClientError` when it asks for what cannot be.
        """
        if self.session_id:
            self._take_up(message)
        self.session_id = message.session_id
        self.is_resumable = isinstance(message, ResumableConnect)
        self.is_connected = True
        self._unacknowledged_bytes = 0

    def lost(self) -> None:
        """The socket is gone."""
        self.is_connected = False

    def acknowledged(self, length: int) -> None:
        """The server has taken ``length`` bytes more."""
        self._unacknowledged_bytes -= length

    def heard(self, message: ResultMessage) -> Result | None:
        """A result came. None when it is empty or was told before.

        Raises `ClientError` when finals are missing before it.
        """
        result = result_of(message.transcriptions[0])
        if isinstance(message, NumberedResult):
            is_new = self._is_new(message, result)
        else:
            is_new = self._is_new_by_time(result)
        if not is_new or not result.text:
            return None
        if isinstance(result, Final):
            self.finals.append(result)
        return result

    def next_frame(self) -> bytes | str | None:
        """What has to be sent next; None when there is nothing, or nothing may be sent now."""
        if self._unasked and self._unasked[0] <= self._written:
            self._unasked.popleft()
            return SendFinalResult().encode()
        if self._window_bytes is not None and self._unacknowledged_bytes >= self._window_bytes:
            return None
        most = self._written + self._encoding.ms_to_bytes(FRAME_MS)
        end = min(self._end, most, *list(self._unasked)[:1])
        frame = bytes(self._audio[self._written - self._start : end - self._start])
        self._written = end
        self._unacknowledged_bytes += len(frame)
        self._forget()
        return frame or None

    # Parts

    @property
    def _end(self) -> int:
        return self._start + len(self._audio)

    def _take_up(self, message: Connect) -> None:
        """Go on where the server asks for it.

        Requests for a final that it cannot have seen are made again. A server that has forgotten
        finals hears their audio again; it is asked to end each of them where it ended before, so
        that none reaches from what was told into what was not.
        """
        if not isinstance(message, ResumableConnect) or message.session_id != self.session_id:
            raise ConnectionLostError(f"the server began another session; {self.loss()}")
        position = message.resume_from
        if position > self._end:
            raise ClientError(f"the server asks for audio from byte {position} of {self._end}")
        if position < self._start:
            short_s = self._seconds(self._start - position)
            raise ConnectionLostError(
                f"the server asks for {short_s:.1f} s of audio that are not kept any more; "
                f"{self.loss()}"
            )
        self.last_result = min(self.last_result, message.results_from - 1)
        self._written = position
        self._unasked = deque(
            cut
            for cut in sorted(self._cuts)
            if cut > position or (cut == position and not self.is_answered(cut))
        )

    def loss(self) -> str:
        """One clause on what no final accounts for."""
        return f"{self.open_s:.1f} s of audio have no final"

    def _is_new(self, message: NumberedResult, result: Result) -> bool:
        """Whether a result goes beyond what is accounted for; then a final accounts for more.

        The place decides and not the number: a server that forgot finals may number anew.
        """
        if isinstance(result, Partial):
            return result.end_ms > self._encoding.bytes_to_ms(self._accounted)
        if message.number is None or message.through_byte is None:
            raise ClientError("the server sent a final without its place")
        if message.number > self.last_result + 1:
            raise ClientError(
                f"the server sent final {message.number} after {self.last_result}: "
                "those between are lost"
            )
        self.last_result = message.number
        if message.through_byte <= self._accounted:
            return False
        self._accounted = min(message.through_byte, self._end)
        self._cuts.add(self._accounted)
        self._forget()
        return True

    def _is_new_by_time(self, result: Result) -> bool:
        """Without numbers every result is new; the times of finals say how far they go."""
        if isinstance(result, Final):
            through_ms = result.end_ms + result.trailing_silence_ms
            self._accounted = max(self._accounted, self._encoding.ms_to_bytes(through_ms))
            self._finalized_ms = max(self._finalized_ms, through_ms)
        return True

    def _forget(self) -> None:
        """Let go of audio that is not needed any more; what the server has not taken always is."""
        if not self.is_connected:
            return
        settled = self._accounted - self._encoding.ms_to_bytes(SETTLING_MS)
        oldest = max(settled, self._end - self._buffer_bytes // 2)
        taken = self._written - (self._unacknowledged_bytes if self._window_bytes else 0)
        floor = min(oldest, taken) if self.is_resumable else self._written
        if floor > self._start:
            del self._audio[: floor - self._start]
            self._start = floor
            self._cuts = {cut for cut in self._cuts if cut >= floor}

    def _seconds(self, count: int) -> float:
        return self._encoding.bytes_to_ms(count) / 1000
