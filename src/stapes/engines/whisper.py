"""Whisper behind the engine port: whole utterances, finals only, punctuated, in many languages.

A recogniser collects the audio of a speech segment and decodes it when the segment ends, which is
half of the silence threshold before the final is due. While it decodes, its stream waits.

CTranslate2 starts a thread as it loads a model, and a child that was forked with the model in
memory waits for that thread for ever. So the constructor loads the model only to see that it can
be loaded and what it knows, and lets it go; each process then loads it for itself when it first
hears speech. Weights are not shared between processes. A child of a process that has let its model
go decodes as one that never had it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stapes.engines.port import Capabilities, HearingParams, Pcm, Segment
from stapes.errors import EngineError
from stapes.protocol.params import WHISPER_LANGUAGES
from stapes.protocol.words import Word

if TYPE_CHECKING:
    from stapes.engines.whisper_model import LoadedWhisper

RATE_HZ = 16000
WINDOW_SAMPLES = 30 * RATE_HZ
"""What a model takes at a time."""

CUT_FROM_SAMPLES = 24 * RATE_HZ
CUT_TO_SAMPLES = WINDOW_SAMPLES - RATE_HZ // 2
"""Where a segment that is longer than a window is cut: at its quietest place between these."""

QUIET_SAMPLES = RATE_HZ // 10
"""Length of a quiet place."""

FAINTEST = 16
"""Peak, in steps of 16 bit, below which there is nothing to hear (-66 dB)."""

USUAL_UTTERANCE_S = 5
COST_OF_UTTERANCE = 1.3
"""CPU time of such an utterance over that of its encoding, at every size of model alike: on one
core the encoding takes 0.4 s (tiny), 0.9 s (base) or 2.6 s (small), and words and times little."""

AUTO = "auto"
FALLBACK_LANGUAGE = "en"


class WhisperEngine:
    """Opens recognisers of the model in one folder."""

    def __init__(self, folder: Path) -> None:
        """Load the model once, to see that it loads. Raises `EngineError`."""
        self._folder = folder
        self._loaded: LoadedWhisper | None = None
        self._capabilities = _capabilities(_load(folder))

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return self._capabilities

    def open(self, params: HearingParams, learnt: bytes = b"") -> WhisperRecogniser:
        """Open a recogniser; of a locale such as ``en-US`` the language counts.

        Raises `EngineError` for a language that the model does not know.
        """
        language = params.language.partition("-")[0]
        if language not in self._capabilities.languages:
            raise EngineError(f"the model does not know the language {params.language}")
        return WhisperRecogniser(self._model, language, learnt.decode() or FALLBACK_LANGUAGE)

    def _model(self) -> LoadedWhisper:
        if self._loaded is None:
            self._loaded = _load(self._folder)
        return self._loaded


class WhisperRecogniser:
    """Collects a segment, decodes it at its end, and every 30 s of it before."""

    def __init__(self, model: Callable[[], LoadedWhisper], language: str, detected: str) -> None:
        self._model: Callable[[], LoadedWhisper] | None = model
        self._language = language
        self._detected = detected
        self._begin()

    def accept(self, pcm: Pcm) -> Sequence[Segment]:
        """Keep the audio; there are no partials. Raises `EngineError`, after `close` too."""
        if self._model is None:
            raise EngineError("the recogniser is closed")
        if len(pcm) == 0:
            return ()
        self._model()  # loads while somebody speaks, not when they wait for the words
        self._pieces.append(pcm)
        self._samples += len(pcm)
        while self._samples - self._heard_samples > WINDOW_SAMPLES:
            self._hear_window()
        return ()

    def drain(self) -> Sequence[Segment]:
        """The final of the segment; none when nothing came. Raises `EngineError`."""
        if self._samples == 0:
            return ()
        self._hear(np.concatenate(self._pieces))
        final = Segment(tuple(self._words), is_final=True)
        self._begin()
        return (final,)

    def learnt(self) -> bytes:
        """The language that was last detected."""
        return self._detected.encode()

    def close(self) -> None:
        """Let go of the audio and refuse more."""
        self._model = None
        self._begin()

    def _begin(self) -> None:
        self._pieces: list[Pcm] = []
        self._words: list[Word] = []
        self._samples = self._heard_samples = 0

    def _hear_window(self) -> None:
        audio = np.concatenate(self._pieces)
        cut = _quietest(audio)
        self._hear(audio[:cut])
        self._pieces = [audio[cut:]]

    def _hear(self, audio: Pcm) -> None:
        """Add the words of the next part of the segment, at most a window of it."""
        offset_ms = self._heard_samples * 1000 // RATE_HZ
        self._heard_samples += len(audio)
        if self._model is None or np.abs(audio.astype(np.int32)).max(initial=0) < FAINTEST:
            return
        model = self._model()
        language = self._language
        if language == AUTO:
            language = self._detected = model.detect(audio) or self._detected
        self._words += [
            Word(word.text, offset_ms + word.start_ms, offset_ms + word.end_ms, word.confidence)
            for word in model.hear(audio, language)
        ]


def _quietest(audio: Pcm) -> int:
    """The middle of the quietest place where a window may end, in samples."""
    energy = np.square(audio[CUT_FROM_SAMPLES:CUT_TO_SAMPLES].astype(np.float64))
    sums = np.concatenate(([0.0], np.cumsum(energy)))
    quietest = int(np.argmin(sums[QUIET_SAMPLES:] - sums[:-QUIET_SAMPLES]))
    return CUT_FROM_SAMPLES + quietest + QUIET_SAMPLES // 2


def _load(folder: Path) -> LoadedWhisper:
    try:
        from stapes.engines.whisper_model import LoadedWhisper
    except ImportError as error:
        raise EngineError("Whisper is not installed; install stapes[whisper]") from error
    return LoadedWhisper(folder)


def _capabilities(model: LoadedWhisper) -> Capabilities:
    factor = COST_OF_UTTERANCE * model.encoding_s() / USUAL_UTTERANCE_S
    # A model of one language cannot tell which one is spoken.
    known = {*model.languages, *((AUTO,) if len(model.languages) > 1 else ())}
    return Capabilities(
        name="whisper",
        model_type="WHISPER",
        model_domains=("GENERIC",),
        languages=tuple(code for code in WHISPER_LANGUAGES if code in known),
        sample_rate_hz=RATE_HZ,
        streaming=False,
        partials=False,
        word_times=True,
        confidence=True,
        punctuation=True,
        bias_phrases=False,
        streams_per_process=1,
        real_time_factor=max(round(factor, 2), 0.02),
        holds_interpreter_lock=False,
    )
