"""One stream's whole ear: bytes of audio in, partials and utterances out.

Decoding, resampling, voice activity, segments, recognition and endpoints, in that order. Runs
in a worker process. The audio's own clock decides everything, so the answers do not depend on
how the bytes were cut or when they came.

Between two utterances all of that can be told in a few kilobytes: a `Checkpoint`, from which
another listener goes on as if it had been this one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, assert_never

import numpy as np

from stapes.audio.encodings import Decoder, Pcm, parse_encoding
from stapes.audio.endpoints import Endpointer
from stapes.audio.resampling import Doubler, Resampler
from stapes.audio.segments import (
    RATE_HZ,
    SAMPLES_PER_MS,
    WINDOW_SAMPLES,
    Look,
    Segmenter,
    SegmentEvent,
    SegmentRules,
    SilenceContinued,
    SpeechContinued,
    SpeechEnded,
    SpeechStarted,
    VoiceActivity,
)
from stapes.engines.checkpoints import ListenerState, decode_state
from stapes.engines.port import Engine, HearingParams, Segment, Turn
from stapes.protocol.events import Checkpoint
from stapes.protocol.heard import Heard, PartialHeard, UtteranceHeard
from stapes.protocol.words import Word

BLOCK_SAMPLES = 3 * WINDOW_SAMPLES
"""What the recogniser is given at a time: 96 ms, so partials come at most that often."""

_NO_SAMPLES = np.empty(0, np.int16)

Ask = Look | Turn
Asking = Generator[Turn, Sequence[Segment], None]
Listening = Generator[Ask, Any, list[Heard]]
"""Listening that asks for each look of its voice activity and each turn of its recogniser, so that
those of many streams can be taken together; it goes on with what ``take`` of what it asked for
would return, and returns what was heard."""


@dataclass(frozen=True, slots=True)
class ListenerParams:
    """What a stream is listened to with; ``encoding`` is the parameter of the wire.

    ``punctuates``: whether a model may set marks in the words of its finals.
    """

    encoding: str
    hearing: HearingParams
    partial_silence_ms: int
    final_silence_ms: int
    punctuates: bool = False


class Punctuator(Protocol):
    """What sets marks, and capitals, in the words of an utterance that has ended."""

    def fits(self, hearing: HearingParams) -> bool:
        """Whether it can, in what such a stream says."""
        ...

    def punctuate(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The same words, with marks at their ends; nothing but the words decides which."""
        ...


class Listener:
    """The ear of one stream."""

    def __init__(
        self,
        engine: Engine,
        params: ListenerParams,
        voice_activity: VoiceActivity | None = None,
        checkpoint: Checkpoint | None = None,
        punctuators: Sequence[Punctuator] = (),
    ) -> None:
        """Open a recogniser; without ``voice_activity``, Silero judges what is speech.

        The first of ``punctuators`` that fits sets the marks of finals, where that is asked for
        and the engine does not.

        With a ``checkpoint`` of a listener of the same engine and parameters, go on from there:
        the next audio is what follows its ``audio_bytes``. Of another engine, what that one had
        learnt is left out.

        Raises `InvalidParameterError` for an unknown encoding, `EngineError` when the engine
        opens no recogniser or the checkpoint cannot be read.
        """
        state = decode_state(checkpoint.state) if checkpoint and checkpoint.state else None
        self._decoder = Decoder(parse_encoding(params.encoding))
        self._resampler = Doubler(doubles=self._decoder.encoding.rate_hz != RATE_HZ)
        self._endpointer = Endpointer(params.partial_silence_ms, params.final_silence_ms)
        self._segmenter = Segmenter(
            voice_activity or _silero(), SegmentRules(hangover_ms=self._endpointer.hangover_ms)
        )
        self._to_engine = Resampler(RATE_HZ, engine.capabilities.sample_rate_hz)
        hearing = replace(params.hearing, spare_ms=self._endpointer.spare_ms)
        self._engine_name = engine.capabilities.name
        is_same = state is not None and state.engine == self._engine_name
        self._recogniser = engine.open(hearing, state.learnt if state and is_same else b"")
        self._has_partials = engine.capabilities.partials
        sets_marks = params.punctuates and not engine.capabilities.punctuation
        fitting = (each for each in punctuators if sets_marks and each.fits(params.hearing))
        self._punctuator = next(fitting, None)
        self._decoded_samples = 0
        self._speech_samples = 0
        self._now = 0
        self._last_speech = 0
        self._segment_start = 0
        self._block: list[Pcm] = []
        self._block_samples = 0
        self._utterance = _Utterance()
        self._audio_bytes = checkpoint.audio_bytes if checkpoint else 0
        if state is not None:
            self._restore(state)
        self._checkpoint = self._capture()

    @property
    def heard_ms(self) -> int:
        """Audio taken in so far: the stream's time."""
        return self._decoded_samples * 1000 // self._decoder.encoding.rate_hz

    @property
    def speech_ms(self) -> int:
        """Audio that was given to the recogniser so far."""
        return self._speech_samples // SAMPLES_PER_MS

    @property
    def speaking(self) -> bool:
        """Whether there is speech right now, its hangover included."""
        return self._segmenter.speaking

    @property
    def pending(self) -> bool:
        """Whether an utterance has begun and not ended."""
        return self._utterance.begun_at is not None

    @property
    def checkpoint_byte(self) -> int:
        """Where `checkpoint` is: here, or behind the last utterance while one is pending."""
        return self._checkpoint.audio_bytes if self.pending else self._audio_bytes

    def checkpoint(self) -> Checkpoint:
        """The last place where recognition can begin again; there is always one."""
        if not self.pending:
            self._checkpoint = self._capture()
        return self._checkpoint

    def accept(self, audio: bytes) -> list[Heard]:
        """Listen to more audio, any number of bytes. Raises `EngineError`."""
        return _alone(self.listen(audio))

    def flush(self) -> list[Heard]:
        """End the utterance now; the last of the answer is its final.

        Its words are empty when nothing was pending. The stream may go on.
        """
        return _alone(self.end())

    def listen(self, audio: bytes) -> Listening:
        """`accept`, asking for what it needs; one at a time is to be run to its end."""
        heard: list[Heard] = []
        for window in self._segmenter.windows(self._resampled(audio)):
            probability = yield self._segmenter.look(window)
            for event in self._segmenter.judge(window, probability):
                yield from self._take(event)
                heard += yield from self._judge()
        return heard

    def end(self) -> Listening:
        """`flush`, asking for what it needs."""
        heard = yield from self.listen(b"")  # a checkpoint may have left something to judge
        for window in self._segmenter.windows(self._resampler.flush()):
            probability = yield self._segmenter.look(window)
            yield from self._take_all(self._segmenter.judge(window, probability))
        yield from self._take_all(self._segmenter.flush())
        return [*heard, self._final(self.heard_ms)]

    def close(self) -> None:
        """Let go of the recogniser. Safe to call twice."""
        self._recogniser.close()

    def _resampled(self, audio: bytes) -> Pcm:
        pcm = self._decoder.decode(audio)
        self._audio_bytes += len(audio)
        self._decoded_samples += len(pcm)
        return self._resampler.resample(pcm)

    def _take_all(self, events: Iterable[SegmentEvent]) -> Asking:
        for event in events:
            yield from self._take(event)

    def _take(self, event: SegmentEvent) -> Asking:
        match event:
            case SpeechStarted():
                self._segment_start = event.at_sample
            case SpeechContinued():
                self._now = event.through_sample
                self._last_speech = event.last_speech_sample
                self._utterance.begin(self._segment_start)
                yield from self._feed(event.pcm)
            case SpeechEnded():
                yield from self._recognise(ends=True)
            case SilenceContinued():
                self._now = event.through_sample
            case _:
                assert_never(event)

    def _feed(self, pcm: Pcm) -> Asking:
        self._speech_samples += len(pcm)
        self._block.append(pcm)
        self._block_samples += len(pcm)
        if self._block_samples >= BLOCK_SAMPLES:
            yield from self._recognise(ends=False)

    def _recognise(self, *, ends: bool) -> Asking:
        block = self._to_engine.resample(np.concatenate((_NO_SAMPLES, *self._block)))
        self._block, self._block_samples = [], 0
        if ends:
            block = np.concatenate((block, self._to_engine.flush()))
        self._note((yield Turn(self._recogniser, block, ends)))

    def _note(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            words = self._on_timeline(segment.words)
            self._utterance.note(words, is_final=segment.is_final)

    def _on_timeline(self, words: Sequence[Word]) -> tuple[Word, ...]:
        offset, now = self._segment_start // SAMPLES_PER_MS, self._now // SAMPLES_PER_MS
        return tuple(
            Word(
                word.text,
                min(word.start_ms + offset, now),
                min(word.end_ms + offset, now),
                word.confidence,
            )
            for word in words
        )

    def _judge(self) -> Listening:
        if self._utterance.begun_at is None:
            return []
        silence_ms = (self._now - self._last_speech) // SAMPLES_PER_MS
        length_ms = (self._now - self._utterance.begun_at) // SAMPLES_PER_MS
        if self._endpointer.final_due(silence_ms, length_ms):
            yield from self._take_all(self._segmenter.cut())
            final = self._final(self._now // SAMPLES_PER_MS)
            self._checkpoint = self._capture()
            return [final] if final.words else []
        is_partial_due = self._has_partials and self._endpointer.partial_due(silence_ms)
        if is_partial_due and self._utterance.changed():
            return [PartialHeard(self._utterance.words, silence_ms)]
        return []

    def _final(self, through_ms: int) -> UtteranceHeard:
        words, self._utterance = self._utterance.words, _Utterance()
        if self._punctuator is not None:
            words = self._punctuator.punctuate(words)
        start_ms, end_ms = (words[0].start_ms, words[-1].end_ms) if words else (through_ms,) * 2
        return UtteranceHeard(words, through_ms - end_ms, start_ms, end_ms, through_ms)

    def _capture(self) -> Checkpoint:
        """Where the stream is, while no utterance is pending."""
        state = ListenerState(
            engine=self._engine_name,
            learnt=self._recogniser.learnt(),
            decoded_samples=self._decoded_samples,
            speech_samples=self._speech_samples,
            half=self._decoder.half,
            resampling=self._resampler.inside,
            segments=self._segmenter.save(),
        )
        return Checkpoint(self._audio_bytes, state.encode())

    def _restore(self, state: ListenerState) -> None:
        self._decoded_samples = state.decoded_samples
        self._speech_samples = state.speech_samples
        self._decoder.half = state.half
        self._resampler.inside = state.resampling
        self._segmenter.restore(state.segments)


class _Utterance:
    """The words between two finals: those of ended segments, and of the one that is running."""

    def __init__(self) -> None:
        self.begun_at: int | None = None
        self._ended: tuple[Word, ...] = ()
        self._running: tuple[Word, ...] = ()
        self._shown: list[str] = []
        self._is_noted = False  # whether words came since it was last asked what changed

    @property
    def words(self) -> tuple[Word, ...]:
        return self._ended + self._running

    def begin(self, at_sample: int) -> None:
        """A speech segment that started here has audio; the first one begins the utterance."""
        if self.begun_at is None:
            self.begun_at = at_sample

    def note(self, words: tuple[Word, ...], *, is_final: bool) -> None:
        """Take what was heard of the running segment; its final words stay."""
        self._running, self._is_noted = words, True
        if is_final:
            self._ended, self._running = self.words, ()

    def changed(self) -> bool:
        """Whether the text differs from the last time this was true, and is not empty."""
        if not self._is_noted:
            return False
        self._is_noted = False
        text = [word.text for word in self.words]
        changed = bool(text) and text != self._shown
        if changed:
            self._shown = text
        return changed


def _alone(listening: Listening) -> list[Heard]:
    """Take what is asked for as it comes."""
    try:
        ask = next(listening)
        while True:
            ask = listening.send(ask.take())
    except StopIteration as end:
        heard: list[Heard] = end.value
        return heard


def _silero() -> VoiceActivity:
    from stapes.engines.silero import SileroVoiceActivity

    return SileroVoiceActivity()
