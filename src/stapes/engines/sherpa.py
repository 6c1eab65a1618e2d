"""Streaming models of sherpa-onnx behind the engine port, many streams in one batch.

The files of a model's folder (`stapes.engines.model_folder`) tell what it is:

* a transducer (Zipformer and others): ``encoder*.onnx``, ``decoder*.onnx``, ``joiner*.onnx``; with
  ``bpe.vocab`` or ``bpe.model`` (or the option ``modeling_unit = "cjkchar"``) it takes phrases
* Paraformer: ``encoder*.onnx``, ``decoder*.onnx``
* one ``*.onnx``: a CTC model, of Zipformer2, NeMo or T-one by the fields of its metadata

and ``tokens.txt`` in each. Options, in the record's table ``[sherpa]``, all of which may be left
out: ``kind`` (one of `KINDS`, where the files do not tell), ``delay_ms`` (how far the times of its
tokens lie behind the sound), ``real_time_factor`` and ``modeling_unit``.

The native code lets go of the interpreter lock and runs on the calling thread alone, so a model
that was loaded before a ``fork()`` works in the child. A speech segment is a stream of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from stapes.engines.model_folder import ModelFolder, read_model_folder, read_onnx_fields
from stapes.engines.port import Capabilities, HearingParams, Pcm, Segment, Turn
from stapes.engines.tokens import Token, can_spell, join_tokens
from stapes.engines.vocabulary import write_vocabulary
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


def _transducer(folder: ModelFolder, scratch: Path) -> dict[str, str]:
    files = {part: str(folder.file(f"{part}*.onnx")) for part in ("encoder", "decoder", "joiner")}
    if not _takes_phrases(folder):
        return files
    unit = str(folder.options.get("modeling_unit", "bpe"))
    beam = {"decoding_method": "modified_beam_search", "modeling_unit": unit}
    return {**files, **beam, "bpe_vocab": _vocabulary(folder, scratch)}


def _vocabulary(folder: ModelFolder, scratch: Path) -> str:
    """The file of the pieces that words are spelt with; made of ``bpe.model`` where it is not."""
    given = folder.find("bpe.vocab")
    model = folder.find("bpe.model")
    if given is not None or model is None:
        return str(given or "")
    made = scratch / "bpe.vocab"
    made.write_text(write_vocabulary(model.read_bytes()), encoding="utf-8")
    return str(made)


def _ctc(folder: ModelFolder, _scratch: Path) -> dict[str, str]:
    return {"model": str(folder.file("*.onnx"))}


def _paraformer(folder: ModelFolder, _scratch: Path) -> dict[str, str]:
    return {part: str(folder.file(f"{part}*.onnx")) for part in ("encoder", "decoder")}


KINDS: Mapping[str, tuple[str, Callable[[ModelFolder, Path], dict[str, str]]]] = MappingProxyType(
    {
        "transducer": ("from_transducer", _transducer),
        "zipformer2-ctc": ("from_zipformer2_ctc", _ctc),
        "nemo-ctc": ("from_nemo_ctc", _ctc),
        "t-one-ctc": ("from_t_one_ctc", _ctc),
        "paraformer": ("from_paraformer", _paraformer),
    }
)
"""What loads each kind, and the arguments that are its own: of its files, or made in a folder that
is there while it loads."""

USUAL_FACTOR = 0.1
"""CPU seconds for a second of speech, where the record does not say: a Zipformer of 70 MB."""


class SherpaEngine:
    """One model, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Load the model of a folder. Raises `EngineError`."""
        self._folder = read_model_folder(folder)
        kind = find_kind(self._folder)
        self.recognizer = _load(self._folder, kind)
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


def find_kind(folder: ModelFolder) -> str:
    """The kind of model that is in a folder. Raises `EngineError`."""
    kind = str(folder.options.get("kind") or _kind_by_files(folder))
    if kind not in KINDS:
        raise EngineError(f"no kind of model {kind!r}; there are: {', '.join(KINDS)}")
    return kind


def _kind_by_files(folder: ModelFolder) -> str:
    if folder.find("joiner*.onnx"):
        return "transducer"
    if folder.find("encoder*.onnx"):
        return "paraformer"
    fields = read_onnx_fields(folder.file("*.onnx"))
    if "frame_length_ms" in fields:
        return "t-one-ctc"
    return "zipformer2-ctc" if fields.get("model_type") == "zipformer2" else "nemo-ctc"


def _load(folder: ModelFolder, kind: str) -> Any:
    name, own_arguments = KINDS[kind]
    try:
        import sherpa_onnx

        with TemporaryDirectory(prefix="stapes-") as scratch:
            return getattr(sherpa_onnx.OnlineRecognizer, name)(
                tokens=str(folder.file("tokens.txt")),
                num_threads=1,  # a process is one core's work; threads would not survive the fork
                sample_rate=folder.sample_rate_hz,
                **own_arguments(folder, Path(scratch)),
            )
    except ImportError as error:
        raise EngineError(f"sherpa-onnx is not installed: {error}") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        raise EngineError(f"the model could not be loaded: {error}") from error


def _takes_phrases(folder: ModelFolder) -> bool:
    is_spelt = folder.options.get("modeling_unit") == "cjkchar"
    return is_spelt or any(folder.find(name) for name in ("bpe.vocab", "bpe.model"))


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
        bias_phrases=kind == "transducer" and _takes_phrases(folder),
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
