"""A Whisper model in a folder, by faster-whisper (CTranslate2): audio in, passages out.

Importing this imports faster-whisper, which takes a second: `stapes.engines.whisper` does it late.
Nothing is ever looked for on a network: the folder has to hold every file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stapes.engines.invention import Passage, is_invented, is_looping
from stapes.engines.port import Pcm
from stapes.errors import EngineError
from stapes.protocol.words import Word

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # the hub's client comes with the import

from faster_whisper import WhisperModel

RATE_HZ = 16000
FILES = ("model.bin", "config.json", "tokenizer.json")
"""What the folder must have. Without a tokenizer faster-whisper would ask the hub for one."""

SURE_OF_LANGUAGE = 0.5
"""Probability from which on a detected language counts."""

NO_REPEATS = 3
"""A loop is decoded again, with no row of so many tokens twice."""

FEWEST_TOKENS, TOKENS_PER_S, MOST_TOKENS = 16, 20, 220
"""How much text a piece of audio may bring about. Speech has 3 to 8 tokens a second in English and
up to 20 in scripts that are spelt byte by byte; invented text goes on until it is stopped."""

_AS_WHISPER_SAYS = {"jv": "jw"}  # Javanese: its code before 1989, which the models know it by


class LoadedWhisper:
    """A model in memory. Belongs to the process that loaded it: see `stapes.engines.whisper`."""

    def __init__(self, folder: Path) -> None:
        """Load, on one thread of the CPU, with weights of 8 bits. Raises `EngineError`."""
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise EngineError(f"no Whisper model in {folder}: {', '.join(missing)} missing")
        try:
            self._model = _OneEncoding(
                str(folder),
                device="cpu",
                compute_type="int8",
                cpu_threads=1,
                num_workers=1,
                local_files_only=True,
            )
        except Exception as error:
            raise EngineError(f"the Whisper model in {folder} cannot be loaded: {error}") from error

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages it knows."""
        by_whisper = {whisper: code for code, whisper in _AS_WHISPER_SAYS.items()}
        return frozenset(by_whisper.get(code, code) for code in self._model.supported_languages)

    def encoding_s(self) -> float:
        """CPU seconds that it takes to encode a window, measured."""
        window = np.zeros((self._model.feature_extractor.mel_filters.shape[0], 3000), np.float32)
        began_s = time.process_time()
        self._model.encode(window)
        return time.process_time() - began_s

    def detect(self, pcm: Pcm) -> str | None:
        """The language that is spoken in up to 30 s of audio; None when that is not clear."""
        # One column more is there than is decoded; without it the encoding serves both.
        features = self._model.feature_extractor(_samples(pcm))[..., :-1]
        if features.shape[-1] == 0:
            return None  # less than 10 ms
        language, probability, _ = self._model.detect_language(features=features)
        return str(language) if probability >= SURE_OF_LANGUAGE else None

    def hear(self, pcm: Pcm, language: str) -> list[Word]:
        """The words of up to 30 s of audio, with times from its start.

        Raises `EngineError` when decoding fails.
        """
        try:
            passages = self._decode(pcm, language)
            if any(map(is_looping, passages)):
                passages = self._decode(pcm, language, no_repeat_ngram_size=NO_REPEATS)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"Whisper cannot decode: {error}") from error
        return [word for each in passages if not is_invented(each) for word in each.words]

    def _decode(self, pcm: Pcm, language: str, **options: Any) -> list[Passage]:
        """One greedy pass: at a temperature of 0 the same audio gives the same text.

        Each window stands for itself (`condition_on_previous_text` is off): text carried from one
        to the next is how a loop, once begun, never ends.
        """
        seconds = len(pcm) / RATE_HZ
        found, _ = self._model.transcribe(
            _samples(pcm),
            language=_AS_WHISPER_SAYS.get(language, language),
            beam_size=1,
            temperature=[0.0],
            condition_on_previous_text=False,
            word_timestamps=True,
            max_new_tokens=2 * _most_tokens(seconds),  # CTranslate2 stops at half of it
            **options,
        )
        return _passages(found, int(1000 * seconds))


def _most_tokens(seconds: float) -> int:
    return min(FEWEST_TOKENS + int(TOKENS_PER_S * seconds), MOST_TOKENS)


class _OneEncoding(WhisperModel):  # type: ignore[misc, unused-ignore]
    """Encodes the same window once: language, text and second try are decoded from one encoding.

    The encoder is most of the work: it always takes 30 s, however short the audio is.
    """

    _encoded: tuple[NDArray[np.float32], Any] | None = None

    def encode(self, features: NDArray[np.float32]) -> Any:
        if self._encoded is None or not np.array_equal(self._encoded[0], features):
            self._encoded = features, super().encode(features)
        return self._encoded[1]


def _samples(pcm: Pcm) -> NDArray[np.float32]:
    return pcm.astype(np.float32) / np.float32(32768)


def _passages(found: Iterable[Any], length_ms: int) -> list[Passage]:
    """Passages with words that follow one another inside the audio."""
    passages, now_ms = [], 0
    for segment in found:
        words = []
        for spoken in segment.words or ():
            word = _word(spoken, now_ms, length_ms)
            if word is not None:
                words.append(word)
                now_ms = word.end_ms
        figures = segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio
        passages.append(Passage(tuple(words), *figures))
        if is_looping(passages[-1]):
            break  # it would go on so to the end of the audio, encoding what is left every time
    return passages


def _word(spoken: Any, from_ms: int, length_ms: int) -> Word | None:
    """A word not before ``from_ms``; None for one in the part of the window without audio."""
    start_ms, text = round(1000 * spoken.start), spoken.word.strip()
    if not text or start_ms >= length_ms:
        return None
    start_ms = max(start_ms, from_ms)
    end_ms = min(max(round(1000 * spoken.end), start_ms), length_ms)
    confidence = round(min(max(float(spoken.probability), 0.0), 1.0), 3)
    return Word(text, start_ms, end_ms, confidence)
