"""The engine port: what every speech recogniser offers, whatever it is inside.

Synchronous on purpose: a worker process owns the engine and everything in it. The port carries
speech only. Voice activity detection, endpointing, stabilisation, punctuation and numbering sit
above it, so engines differ in hearing and in nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stapes.protocol.words import Word

Pcm = NDArray[np.int16]
"""Mono samples at the engine's own rate, shape ``(n,)``, int16."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do, as data.

    ``sample_rate_hz`` is what `Recogniser.accept` takes; the caller resamples.
    ``streams_per_process`` is how many recognisers of one process can run at a time.
    ``real_time_factor`` is CPU seconds per second of speech on one core of a usual machine: the
    default limit of streams is computed from it.
    """

    name: str
    model_type: str  # ORACLE or WHISPER: the modelType of the wire that this engine answers
    model_domains: tuple[str, ...]  # of GENERIC, MEDICAL
    languages: tuple[str, ...]  # BCP 47, as on the wire: en-US
    sample_rate_hz: int
    streaming: bool
    partials: bool
    word_times: bool
    confidence: bool
    punctuation: bool
    bias_phrases: bool
    streams_per_process: int
    real_time_factor: float
    holds_interpreter_lock: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """What was heard in the speech segment that is being decoded, or has just ended.

    Word times count from the first sample accepted since `Engine.open` or the last
    `Recogniser.drain`. A partial segment (``is_final`` false) replaces the one before it.
    """

    words: tuple[Word, ...]
    is_final: bool


@dataclass(frozen=True, slots=True)
class HearingParams:
    """What a recogniser is opened with.

    ``phrases`` are to be heard rather than what sounds like them; an engine whose capabilities
    have no ``bias_phrases`` passes over them.
    ``spare_ms`` is the time that `Recogniser.drain` may take and still be ready when the final is
    due; an engine that could hear better with more work does no more of it than that allows.
    """

    language: str = "en-US"
    model_type: str = "ORACLE"
    model_domain: str = "GENERIC"
    phrases: tuple[str, ...] = ()
    spare_ms: int = 1000


class Recogniser(Protocol):
    """One stream's decoder. Not shared, not re-entrant."""

    def accept(self, pcm: Pcm) -> Sequence[Segment]:
        """Decode more speech of the current segment; return what changed, the newest last.

        Any number of samples may be given, none too. At most the last returned segment is a
        partial. Raises `stapes.errors.EngineError` when the engine fails.
        """
        ...

    def drain(self) -> Sequence[Segment]:
        """End the current speech segment; return its final `Segment` (none when nothing came).

        The recogniser is then ready for the next segment of the same stream: what it has learnt
        of the speaker and the channel stays.
        """
        ...

    def learnt(self) -> bytes:
        """What it has learnt of the stream so far, for `Engine.open`; between segments only."""
        ...

    def close(self) -> None:
        """Let go of everything. Safe to call twice."""
        ...


class Engine(Protocol):
    """A loaded model that opens recognisers. Loading happens in the adapter's constructor."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        ...

    def open(self, params: HearingParams, learnt: bytes = b"") -> Recogniser:
        """Open a recogniser for one stream. Raises `stapes.errors.EngineError`.

        With what another recogniser of this engine had ``learnt``, the next segments are heard
        exactly as that one would have heard them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What a stream asks of its recogniser at a time: to accept ``pcm``, then, if asked, to end."""

    recogniser: Recogniser
    pcm: Pcm
    ends: bool

    def take(self) -> Sequence[Segment]:
        """Ask the recogniser alone. Raises `stapes.errors.EngineError`."""
        heard = self.recogniser.accept(self.pcm)
        return [*heard, *self.recogniser.drain()] if self.ends else heard


@runtime_checkable
class BatchEngine(Engine, Protocol):
    """An engine that decodes the turns of several streams together for less than one by one."""

    def take_together(self, turns: Sequence[Turn]) -> Sequence[Sequence[Segment]]:
        """The answer to each turn, the same as it would have alone; a recogniser has one turn.

        Raises `stapes.errors.EngineError`; the recognisers are then of no more use.
        """
        ...
