"""Makes ``tests/fixtures/punctuation``: two models that set marks, for tests of those of sherpa.

``python -m tools.make_punctuation_models``. Needs ``onnx``. They are laid out as the two kinds that
sherpa-onnx runs, and nothing in them was trained: each word has a mark and a case of its own,
whatever stands around it (`WORDS`).

* ``edge``: a CNN-BiLSTM, which sets marks and capitals
* ``ct``: a CT-Transformer, which sets the wide marks of Chinese, and no capitals
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tools.onnx_network import Constants, make_network

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "punctuation"

MARKS = ("", ",", ".", "?")
LOWER, UPPER, CAPITAL = 0, 1, 2
WORDS = {
    **{"zero": ("", CAPITAL), "one": ("", LOWER), "two": (",", LOWER), "three": ("", LOWER)},
    **{"four": (".", LOWER), "five": ("", CAPITAL), "six": (",", LOWER), "seven": ("", UPPER)},
    **{"eight": ("?", LOWER), "nine": ("", CAPITAL)},
}
"""What each says of itself: the mark behind it, and its case."""

SPECIAL = ("<unk>", "<s>", "</s>")
PIECES = (*SPECIAL, *(f"▁{word}" for word in WORDS))
WIDE = ("<unk>", "_", "，", "。", "？", "、")  # noqa: RUF001 - the marks of Chinese
TO_WIDE = {"": 1, ",": 2, ".": 3, "?": 4}
LONGEST = 200
"""Pieces of text that the CNN-BiLSTM sees at a time."""


def main() -> None:
    """Write the networks, and the vocabulary of the one that has it in a file."""
    for network in (_edge(), _ct()):
        folder = FOLDER / network.graph.name
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(network, folder / "model.onnx")
    lines = [f"{piece}\t{-index}\n" for index, piece in enumerate(PIECES)]
    (FOLDER / "edge" / "bpe.vocab").write_text("".join(lines), encoding="utf-8")


def _edge() -> onnx.ModelProto:
    """Pieces (batch, `LONGEST`) and which begin words, to case and mark of every word."""
    nodes = [
        helper.make_node("Equal", ["valid_ids", "one"], ["begins"]),
        helper.make_node("Equal", ["token_ids", "one"], ["is_first"]),
        helper.make_node("Equal", ["token_ids", "two"], ["is_last"]),
        helper.make_node("Or", ["is_first", "is_last"], ["is_edge"]),
        helper.make_node("Not", ["is_edge"], ["is_text"]),
        helper.make_node("And", ["begins", "is_text"], ["is_word"]),
        helper.make_node("Reshape", ["is_word", "flat"], ["mask"]),
        helper.make_node("Reshape", ["token_ids", "flat"], ["pieces"]),
        helper.make_node("Compress", ["pieces", "mask"], ["words"]),
        helper.make_node("Gather", ["cases", "words"], ["case_logits"]),
        helper.make_node("Gather", ["marks", "words"], ["punct_logits"]),
    ]
    blank = [0] * len(SPECIAL)
    constants: Constants = {
        "one": np.array(1, np.int32),
        "two": np.array(2, np.int32),
        "flat": np.array([-1], np.int64),
        "cases": _rows([*blank, *(case for _, case in WORDS.values())], 4),
        "marks": _rows([*blank, *(MARKS.index(mark) for mark, _ in WORDS.values())], len(MARKS)),
    }
    inputs = [_ints("token_ids", ["n", LONGEST]), _ints("valid_ids", ["n", LONGEST])]
    inputs.append(_ints("label_lens", ["n"]))
    outputs = [_floats("case_logits", ["words", 4]), _floats("punct_logits", ["words", len(MARKS)])]
    fields = {"COMMA": "1", "PERIOD": "2", "QUESTION": "3"}
    fields |= {"UPPER": "1", "CAP": "2", "MIX_CASE": "3"}
    return make_network("edge", nodes, (inputs, outputs), constants, fields)


def _ct() -> onnx.ModelProto:
    """Words (1, n) to marks (1, n, marks)."""
    tokens = ["<unk>", *WORDS]
    marks = [TO_WIDE[""], *(TO_WIDE[mark] for mark, _ in WORDS.values())]
    nodes = [helper.make_node("Gather", ["marks", "inputs"], ["logits"])]
    fields = {"tokens": "|".join(tokens), "vocab_size": str(len(tokens))}
    fields |= {"punctuations": "|".join(WIDE), "unk_symbol": "<unk>"}
    return make_network(
        "ct",
        nodes,
        (
            [_ints("inputs", [1, "n"]), _ints("text_lengths", [1])],
            [_floats("logits", [1, "n", len(WIDE)])],
        ),
        {"marks": _rows(marks, len(WIDE))},
        fields,
    )


def _rows(chosen: Sequence[int], width: int) -> NDArray[np.float32]:
    """A row for each of ``chosen``, which is the highest in it."""
    return np.eye(width, dtype=np.float32)[list(chosen)]


def _ints(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT32, shape)


def _floats(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


if __name__ == "__main__":
    main()
