"""Streaming models of sherpa-onnx behind the engine port, many streams in one batch.

Which models and how they are loaded is in `stapes.engines.sherpa_model`. Options, in the table
``[sherpa]`` of a model's record, all of which may be left out: ``kind`` and ``modeling_unit`` (see
there), ``delay_ms`` (how far the times of its tokens lie behind the sound) and
``real_time_factor``.

The native code lets go of the interpreter lock and runs on the calling thread alone, so a model
that was loaded before a ``fork()`` works in the child. A speech segment is a stream of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from stapes.engines.model_folder import ModelFolder, read_model_folder
from stapes.engines.port import Capabilities, HearingParams, Pcm, Segment, Turn
from stapes.engines.sherpa_model import find_kind, load_recognizer, takes_phrases
from stapes.engines.tokens import Token, can_spell, join_tokens
from stapes.errors import EngineError
from stapes.protocol.words import Word

TAIL_MS = 800
"""Silence after a segment, so that models that look ahead, or wait for full frames, say it all."""

MOST_STREAMS = 32
"""Streams of one process at most; a larger batch saves little."""

SHARE_OF_A_CORE = 0.5
"""What the streams of one process may take of it, so that they catch up when they have to."""

STANDING, NEWEST = 0.95, 0.6
"""Confidence in the words of a partial: a search that only appends may still lengthen the last."""

USUAL_FACTOR = 0.1
"""CPU seconds for a second of speech, where the record does not say: a Zipformer of 70 MB."""


class SherpaEngine:
    """One model, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Load the model of a folder. Raises `EngineError`."""
        self._folder = read_model_folder(folder)
        kind = find_kind(self._folder)
        self.recognizer = load_recognizer(self._folder, kind)
        self.is_spaced = kind != "paraformer"
        self.delay_ms = int(_number(self._folder, "delay_ms", 0))
        tokens = self._folder.file("tokens.txt").read_text(encoding="utf-8")
        # Models that know no small letters are not shouting; tags such as <UNK> are no text.
        names = {line.split()[0] for line in tokens.splitlines() if line.split()}
        self._pieces = frozenset(name for name in names if not name.startswith("<"))
        self.is_capital = not any(name.islower() for name in self._pieces)
        self._capabilities = _capabilities(self._folder, kind)

    @property
    def capabilities(self) -> Capabilities:
        """What this model can do."""
        return self._capabilities

    def open(self, params: HearingParams, learnt: bytes = b"") -> SherpaRecogniser:
        """Open a recogniser for one stream. Raises `EngineError` for a language it has not."""
        if not self._folder.speaks(params.language):
            raise EngineError(f"the model in use does not know {params.language}")
        able = self._capabilities.bias_phrases
        return SherpaRecogniser(self, self._spelt(params.phrases) if able else "")

    def take_together(self, turns: Sequence[Turn]) -> Sequence[Sequence[Segment]]:
        """Take in the audio of every turn, decode all streams step by step, and tell what changed.

        Raises `EngineError`.
        """
        taking = [(cast(SherpaRecogniser, turn.recogniser), turn) for turn in turns]
        for recogniser, turn in taking:
            recogniser.feed(turn.pcm, ends=turn.ends)
        self._decode([each.stream for each, _ in taking if each.stream is not None])
        return [recogniser.tell(ends=turn.ends) for recogniser, turn in taking]

    def _spelt(self, phrases: Sequence[str]) -> str:
        """The phrases as the library wants them.

        For one that the vocabulary cannot spell it would drop them all, and write it to the log.
        """
        found = (self._spelling(phrase) for phrase in phrases)
        return "/".join(phrase for phrase in found if phrase is not None)

    def _spelling(self, phrase: str) -> str | None:
        """A phrase in the case that the vocabulary has it in; None when it cannot be spelt."""
        cases = (phrase.upper(),) if self.is_capital else (phrase, phrase.lower())
        return next((each for each in cases if can_spell(each, self._pieces)), None)

    def _decode(self, streams: list[Any]) -> None:
        try:
            while ready := [stream for stream in streams if self.recognizer.is_ready(stream)]:
                self.recognizer.decode_streams(ready)
        except RuntimeError as error:
            raise EngineError(f"the model failed: {error}") from error


class SherpaRecogniser:
    """One stream's decoder."""

    def __init__(self, engine: SherpaEngine, phrases: str) -> None:
        self.stream: Any = None
        self._engine = engine
        self._phrases = phrases
        self._samples = 0
        self._shown: tuple[str, ...] = ()
        self._tokens: list[str] = []
        self._closed = False

    def accept(self, pcm: Pcm) -> Sequence[Segment]:
        """Decode this stream alone; a partial when its words changed. Raises `EngineError`."""
        return self._engine.take_together([Turn(self, pcm, ends=False)])[0]

    def drain(self) -> Sequence[Segment]:
        """End the segment and return its final words."""
        return self._engine.take_together([Turn(self, np.empty(0, np.int16), ends=True)])[0]

    def learnt(self) -> bytes:
        """Nothing: each segment is a stream of its own to the model."""
        return b""

    def close(self) -> None:
        """Let go of the stream."""
        self.stream = None
        self._closed = True

    def feed(self, pcm: Pcm, *, ends: bool) -> None:
        """Take in audio, and what is needed at the end. Raises `EngineError` after `close`."""
        if self._closed:
            raise EngineError("the recogniser is closed")
        rate_hz = self._engine.capabilities.sample_rate_hz
        if len(pcm):
            if self.stream is None:
                self.stream = self._open_stream()
            self._samples += len(pcm)
            self.stream.accept_waveform(rate_hz, pcm.astype(np.float32) / np.float32(32768))
        if ends and self.stream is not None:
            self.stream.accept_waveform(rate_hz, np.zeros(rate_hz * TAIL_MS // 1000, np.float32))
            self.stream.input_finished()

    def tell(self, *, ends: bool) -> Sequence[Segment]:
        """What has been decoded: the final, or the partial if it changed."""
        if self.stream is None:
            return ()
        result = self._engine.recognizer.get_result_all(self.stream)
        tokens = result.tokens
        if tokens == self._tokens and not ends:
            return ()
        self._tokens = tokens
        words = self._words(result, is_final=ends)
        text = tuple(word.text for word in words)
        if ends:
            self.stream, self._samples, self._shown, self._tokens = None, 0, (), []
            return (Segment(words, is_final=True),)
        if text == self._shown:
            return ()
        self._shown = text
        return (Segment(words, is_final=False),)

    def _open_stream(self) -> Any:
        if self._phrases:
            return self._engine.recognizer.create_stream(hotwords=self._phrases)
        return self._engine.recognizer.create_stream()

    def _words(self, result: Any, *, is_final: bool) -> tuple[Word, ...]:
        engine = self._engine
        end_ms = self._samples * 1000 // engine.capabilities.sample_rate_hz
        probabilities = _probabilities(result, is_final=is_final)
        times = _times_ms(result, engine.delay_ms, end_ms)
        texts = [text.lower() for text in result.tokens] if engine.is_capital else result.tokens
        tokens = [Token(*each) for each in zip(texts, times, probabilities, strict=True)]
        return join_tokens(tokens, end_ms, spaced=engine.is_spaced)


def _number(folder: ModelFolder, option: str, usual: float) -> float:
    try:
        return float(folder.options.get(option, usual))
    except (TypeError, ValueError) as error:
        raise EngineError(f"the option {option} of the model is no number") from error


def _capabilities(folder: ModelFolder, kind: str) -> Capabilities:
    factor = _number(folder, "real_time_factor", USUAL_FACTOR)
    if factor <= 0:
        raise EngineError(f"the option real_time_factor of the model is {factor:g}")
    return Capabilities(
        name="sherpa",
        model_type=folder.model_type,
        model_domains=folder.domains,
        languages=folder.languages,
        sample_rate_hz=folder.sample_rate_hz,
        streaming=True,
        partials=True,
        word_times=kind != "paraformer",
        confidence=kind == "transducer",
        punctuation=False,
        bias_phrases=kind == "transducer" and takes_phrases(folder),
        streams_per_process=max(1, min(MOST_STREAMS, int(SHARE_OF_A_CORE / factor))),
        real_time_factor=factor,
        holds_interpreter_lock=False,
    )


def _times_ms(result: Any, delay_ms: int, end_ms: int) -> list[int]:
    """When each token is said; evenly spread where the model gives no times."""
    count = len(result.tokens)
    if len(result.timestamps) != count:
        return [end_ms * index // count for index in range(count)]
    return [max(0, round(1000 * at_s) - delay_ms) for at_s in result.timestamps]


def _probabilities(result: Any, *, is_final: bool) -> list[float]:
    """Of each token as the model gives it; otherwise how sure its text is to stay."""
    count = len(result.tokens)
    if len(result.ys_probs) == count:
        return [math.exp(min(log, 0.0)) for log in result.ys_probs]
    if is_final:
        return [1.0] * count
    return [STANDING] * (count - 1) + [NEWEST] * min(count, 1)
