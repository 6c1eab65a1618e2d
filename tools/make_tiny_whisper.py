#!/usr/bin/env python3
"""Makes a Whisper of random weights in CTranslate2's format, for tests: it loads like a real one.

What it says means nothing. It is a model of the usual vocabulary and window, only very thin, and
its random weights are arranged so far that it behaves like a trained one: for any audio it says a
short sentence of made-up words with a comma and a full stop, the words depend on the audio, and it
is sure of them. The options take one such virtue away each, for tests of what guards against the
faults of real models.

Needs ``ctranslate2`` and ``tokenizers`` (both come with ``faster-whisper``) and no network. Usage:
``make_tiny_whisper.py FOLDER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.common_spec import LayerNormSpec, LinearSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WIDTH = 64
HEADS = 2
MELS = 80
AUDIO_POSITIONS = 1500  # of 20 ms: the window of 30 s
TEXT_POSITIONS = 448

LANGUAGES = _LANGUAGE_CODES[:99]  # the last one, yue, is only in the newest models
EOT = 50257  # in every Whisper of many languages, as the other special tokens are
SOT = EOT + 1
ENGLISH = SOT + 1 + LANGUAGES.index("en")
NO_SPEECH = SOT + 1 + len(LANGUAGES) + 4
TIMESTAMPS = NO_SPEECH + 2  # of 0.00 s; the next is of 0.02 s
VOCABULARY = TIMESTAMPS + 1501

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = range(len(BYTES), len(BYTES) + 400)  # those it says: " ba0" and so on

PROMPT = 3  # positions of the start, the language and the task; then comes a time, then the text
SENTENCE = MappingProxyType(
    {
        PROMPT + 4: BYTES.index(","),
        PROMPT + 9: BYTES.index("."),
        **dict.fromkeys((PROMPT + 10, PROMPT + 11), EOT),
    }
)

Array = NDArray[np.float32]


def make(
    folder: Path,
    *,
    seed: int = 0,
    sharpness: float = 12.0,
    says: Mapping[int, int] = SENTENCE,
    loops: bool = False,
    hears_speech: bool = True,
    knows_languages: bool = True,
) -> Path:
    """Write the model; return its folder.

    Args:
        folder: made when it is not there.
        seed: of the weights.
        sharpness: how sure it is of what it says; 0.1 is not at all.
        says: marks, words and ends by their position in the text; made-up words are between.
        loops: whether it says the word at the first position over and over.
        hears_speech: whether it takes what it is given for speech.
        knows_languages: whether it is a model of many languages, not of English alone.

    Takes half a second. The folder has 9 MB: the vocabulary is that of real models.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = _Weights(np.random.default_rng(seed))
    spec = WhisperSpec(1, HEADS, 1, HEADS)
    _fill_encoder(spec, weights)
    _fill_decoder(spec, weights)
    positions = spec.decoder.position_encodings.encodings
    if loops:
        positions[PROMPT:] = positions[PROMPT]
    rows = _projection(weights, positions, says, hears_speech=hears_speech)
    spec.decoder.projection.weight = sharpness * rows
    tokens = _tokens()
    if not knows_languages:
        tokens[EOT - 1] = "Ġ#"  # where a model of many languages has an empty one
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [EOT]
    spec.config.lang_ids = list(range(SOT + 1, SOT + 1 + len(LANGUAGES)))
    spec.config.alignment_heads = [(0, head) for head in range(HEADS)]
    spec.validate()
    spec.optimize(quantization="int8")
    spec.save(str(folder))
    _tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps(features), encoding="utf-8")
    return folder


class _Weights:
    """Random weights, of about unit size behind a product with a layer's input."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (scale * self._random.standard_normal(shape)).astype(np.float32)

    def linear(self, spec: LinearSpec, rows: int, columns: int, scale: float = 1.0) -> None:
        spec.weight = self.normal(rows, columns, scale=scale / np.sqrt(columns))
        spec.bias = np.zeros(rows, np.float32)

    def layers(self, layer: object, *, outward: float) -> None:
        """Attention to itself and the feed-forward net of a layer; ``outward`` scales both."""
        _set_norm(layer.self_attention.layer_norm)  # type: ignore[attr-defined]
        self.linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)  # type: ignore[attr-defined]
        self.linear(layer.self_attention.linear[1], WIDTH, WIDTH, outward)  # type: ignore[attr-defined]
        _set_norm(layer.ffn.layer_norm)  # type: ignore[attr-defined]
        self.linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)  # type: ignore[attr-defined]
        self.linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH, outward)  # type: ignore[attr-defined]


def _set_norm(spec: LayerNormSpec) -> None:
    spec.gamma = np.ones(WIDTH, np.float32)
    spec.beta = np.zeros(WIDTH, np.float32)


def _fill_encoder(spec: WhisperSpec, weights: _Weights) -> None:
    encoder = spec.encoder
    encoder.conv1.weight = weights.normal(WIDTH, MELS, 3, scale=1 / np.sqrt(3 * MELS))
    encoder.conv2.weight = weights.normal(WIDTH, WIDTH, 3, scale=1 / np.sqrt(3 * WIDTH))
    encoder.conv1.bias = np.zeros(WIDTH, np.float32)
    encoder.conv2.bias = np.zeros(WIDTH, np.float32)
    encoder.position_encodings.encodings = weights.normal(AUDIO_POSITIONS, WIDTH, scale=0.1)
    weights.layers(encoder.layer[0], outward=0.3)
    _set_norm(encoder.layer_norm)


def _fill_decoder(spec: WhisperSpec, weights: _Weights) -> None:
    decoder = spec.decoder
    decoder.embeddings.weight = weights.normal(VOCABULARY, WIDTH, scale=0.02)
    decoder.position_encodings.encodings = weights.normal(TEXT_POSITIONS, WIDTH)
    (layer,) = decoder.layer
    weights.layers(layer, outward=0.1)
    _set_norm(layer.attention.layer_norm)
    weights.linear(layer.attention.linear[0], WIDTH, WIDTH)
    weights.linear(layer.attention.linear[1], 2 * WIDTH, WIDTH)
    weights.linear(layer.attention.linear[2], WIDTH, WIDTH, 1.2)
    _set_norm(decoder.layer_norm)


def _projection(
    weights: _Weights, positions: Array, says: Mapping[int, int], *, hears_speech: bool
) -> Array:
    """Rows of the words at random, of what is said at a position along that position's code."""
    rows = np.zeros((VOCABULARY, WIDTH), np.float32)
    rows[WORDS.start : WORDS.stop] = weights.normal(len(WORDS), WIDTH, scale=0.5)
    rows[ENGLISH] = 0.3 * positions[0]
    rows[NO_SPEECH] = (-0.5 if hears_speech else 0.5) * positions[0]
    for position, token in says.items():
        rows[token] += 0.5 * positions[position]
    return rows


def _special_tokens() -> list[str]:
    languages = [f"<|{code}|>" for code in LANGUAGES]
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    starts = ["<|endoftext|>", "<|startoftranscript|>", *languages]
    return [*starts, *(f"<|{name}|>" for name in tasks)]


def _text_tokens() -> list[str]:
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words = [f"Ġ{syllables[at % 70]}{syllables[at // 70 % 70]}" for at in range(400)]
    rest = [f"Ġ#{at}" for at in range(EOT - len(BYTES) - len(words) - 1)]
    return [*BYTES, *words, *rest, ""]  # by the empty one is a model of many languages known


def _tokens() -> list[str]:
    times = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    return [*_text_tokens(), *_special_tokens(), *times]


def _tokenizer() -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(_text_tokens())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _special_tokens()])
    return tokenizer


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
