"""Models of sherpa-onnx that set marks, and capitals, in the words of an utterance.

The files of a model's folder (`stapes.engines.model_folder`) tell what it is:

* a CNN-BiLSTM: one ``*.onnx`` and ``bpe.vocab``; it sets marks and capitals, of English
* a CT-Transformer: one ``*.onnx``; it sets the wide marks of Chinese, and no capitals

The native code runs on the calling thread alone, and remembers nothing: the same words have the
same marks, whatever came before, so that what is heard again after a crash reads the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stapes.engines.model_folder import ModelFolder, read_model_folder, read_onnx_fields
from stapes.engines.port import HearingParams
from stapes.errors import EngineError
from stapes.protocol.words import Word

LONGEST_WORD = 60
"""Signs of a word that a model is shown: its window is no wider than 200 pieces."""

NARROW = {"，": ",", "。": ".", "？": "?", "、": ","}  # noqa: RUF001 - the marks of Chinese
_MARKS = frozenset((*NARROW, *NARROW.values()))
_ENDS = frozenset(".?。？")  # noqa: RUF001 - the marks of Chinese

EDGE_FIELDS = ("COMMA", "PERIOD", "QUESTION", "UPPER", "CAP", "MIX_CASE")
CT_FIELDS = ("tokens", "vocab_size", "punctuations", "unk_symbol")
"""What the native code looks for in a model; it ends the process where one is missing."""


class SherpaPunctuator:
    """One model, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Load the model of a folder. Raises `EngineError`."""
        self._folder = read_model_folder(folder, "punctuation")
        self._sets_capitals = self._folder.find("bpe.vocab") is not None
        load = _load_edge if self._sets_capitals else _load_ct
        try:
            self._punctuated = load(self._folder)
        except ImportError as error:
            raise EngineError(f"sherpa-onnx is not installed: {error}") from error
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"the model could not be loaded: {error}") from error

    def fits(self, hearing: HearingParams) -> bool:
        """Whether it knows the language of a stream, as its model type and domain have it."""
        folder = self._folder
        is_of_type = hearing.model_type == folder.model_type
        return (
            is_of_type
            and hearing.model_domain in folder.domains
            and folder.speaks(hearing.language)
        )

    def punctuate(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words of an utterance with the marks behind them, as they would be written.

        Times and confidences stay. Words of which the model makes others are left as they are.
        """
        if not words or any(len(word.text) > LONGEST_WORD for word in words):
            return tuple(words)
        try:
            text = self._punctuated(" ".join(word.text for word in words))
        except (RuntimeError, ValueError):  # a word that it breaks is a ValueError
            return tuple(words)
        written = write_as(words, text)
        if written is None:
            return tuple(words)
        return written if self._sets_capitals else _with_capitals(words, written)


def write_as(words: Sequence[Word], text: str) -> tuple[Word, ...] | None:
    """``words`` as ``text`` writes them, each with the marks behind it; None if it says others."""
    written: list[Word] = []
    at = 0
    for word in words:
        found = _spelt(word.text, text, at)
        if found is None:
            return None
        shown, at = found
        marks, at = _marks(text, at, is_narrow=word.text.isascii())
        written.append(replace(word, text=shown + marks))
    return tuple(written) if not text[at:].strip() else None


def _spelt(word: str, text: str, at: int) -> tuple[str, int] | None:
    """A word as it stands in ``text``, which may space its signs, and the place behind it."""
    shown = ""
    for sign in word:
        while text[at : at + 1].isspace() and not sign.isspace():
            at += 1
        if text[at : at + 1].casefold() != sign.casefold():
            return None
        shown += text[at]
        at += 1
    return shown, at


def _marks(text: str, at: int, *, is_narrow: bool) -> tuple[str, int]:
    """The marks at a place, and the place behind them."""
    marks = ""
    while (mark := text[at : at + 1]) in _MARKS:
        marks += NARROW.get(mark, mark) if is_narrow else mark
        at += 1
    return marks, at


def _with_capitals(words: Sequence[Word], written: Sequence[Word]) -> tuple[Word, ...]:
    """A capital at the begin, and behind each mark that was set at the end of a sentence."""
    shown: list[Word] = []
    begins = True
    for word, marked in zip(words, written, strict=True):
        text = marked.text[:1].upper() + marked.text[1:] if begins else marked.text
        shown.append(replace(marked, text=text))
        begins = len(marked.text) > len(word.text) and marked.text[-1] in _ENDS
    return tuple(shown)


def _load_edge(folder: ModelFolder) -> Callable[[str], str]:
    path = _checked(folder, EDGE_FIELDS)
    import sherpa_onnx

    model = sherpa_onnx.OnlinePunctuationModelConfig(
        cnn_bilstm=path, bpe_vocab=str(folder.file("bpe.vocab")), num_threads=1
    )
    loaded: Any = sherpa_onnx.OnlinePunctuation(sherpa_onnx.OnlinePunctuationConfig(model))
    punctuated: Callable[[str], str] = loaded.add_punctuation_with_case
    return punctuated


def _load_ct(folder: ModelFolder) -> Callable[[str], str]:
    path = _checked(folder, CT_FIELDS)
    import sherpa_onnx

    model = sherpa_onnx.OfflinePunctuationModelConfig(ct_transformer=path, num_threads=1)
    loaded: Any = sherpa_onnx.OfflinePunctuation(sherpa_onnx.OfflinePunctuationConfig(model))
    punctuated: Callable[[str], str] = loaded.add_punctuation
    return punctuated


def _checked(folder: ModelFolder, fields: Sequence[str]) -> str:
    """The path of the model, which has all ``fields``. Raises `EngineError`."""
    path = folder.file("*.onnx")
    has = read_onnx_fields(path)
    if missing := [field for field in fields if field not in has]:
        raise EngineError(f"{path} sets no marks: it has no field {missing[0]}")
    return str(path)
