"""Makes ``tests/fixtures/tones``: a transducer that hears tones, for tests of the sherpa engine.

``python -m tools.make_tone_model``. Needs ``onnx``. It is laid out as an LSTM transducer of
sherpa-onnx and nothing in it was trained: a tone below about 1,100 Hz is the token ``▁LOW``, one
above it are the tokens ``▁HI`` and ``GH``, and silence is the blank. What has just been said is not
said again, so a tone is one word, whatever its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tools.onnx_network import Constants, make_network

FOLDER = Path(__file__).parent.parent / "tests" / "fixtures" / "tones"
TOKENS = ("<blk>", "▁LOW", "▁HI", "GH")
MELS = 80
FRAMES = 9
CHUNK = 4
"""Frames of 10 ms that an answer stands for; it sees `FRAMES` from its first one on."""

LOUDNESS = np.array([[0, 0.8, 0, 0], [0, 0, 0.8, 0]], np.float32)
"""What the loudest log energy of the low and the high half speak for, token by token."""

AFTER = np.array([[0, 0, 0, -9], [0, -99, 0, -99], [0, -99, -99, 9], [0, 0, -99, -99]], np.float32)
"""What the token that was said last speaks for."""


def main() -> None:
    """Write the three networks, the tokens and the vocabulary."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for network in (_encoder(), _decoder(), _joiner()):
        onnx.save(network, FOLDER / f"{network.graph.name}.onnx")
    lines = [f"{token} {index}\n" for index, token in enumerate(TOKENS)]
    (FOLDER / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    pieces = [f"{token}\t{-index}\n" for index, token in enumerate(TOKENS)]
    (FOLDER / "bpe.vocab").write_text("".join(pieces), encoding="utf-8")


def _encoder() -> onnx.ModelProto:
    """(batch, `FRAMES`, mels) to (batch, 1, tokens); its state is passed on as it came."""
    state = ["layers", "batch", "cells"]
    nodes = [
        *_loudest("low", 2, MELS // 2),
        *_loudest("high", MELS // 2, MELS),
        helper.make_node("Concat", ["low", "high"], ["both"], axis=2),
        helper.make_node("MatMul", ["both", "loudness"], ["encoder_out"]),
        helper.make_node("Identity", ["h"], ["next_h"]),
        helper.make_node("Identity", ["c"], ["next_c"]),
    ]
    constants: Constants = {"loudness": LOUDNESS, "zero": _ints(0), "chunk": _ints(CHUNK)}
    constants |= {"time": _ints(1)}
    constants |= {"mel": _ints(2), "two": _ints(2)}
    constants |= {"half": _ints(MELS // 2), "all": _ints(MELS)}
    fields: dict[str, int | str] = {
        "model_type": "lstm",
        "T": FRAMES,
        "decode_chunk_len": CHUNK,
        "num_encoder_layers": 1,
    }
    fields |= {"d_model": 1, "rnn_hidden_size": 1}
    return make_network(
        "encoder",
        nodes,
        (
            [_value("x", ["batch", FRAMES, MELS]), _value("h", state), _value("c", state)],
            [
                _value("encoder_out", ["batch", 1, len(TOKENS)]),
                _value("next_h", state),
                _value("next_c", state),
            ],
        ),
        constants,
        fields,
    )


def _loudest(name: str, low: int, high: int) -> list[onnx.NodeProto]:
    names = {2: "two", MELS // 2: "half", MELS: "all"}
    return [
        helper.make_node("Slice", ["x", "zero", "chunk", "time"], [f"{name}_now"]),
        helper.make_node(
            "Slice", [f"{name}_now", names[low], names[high], "mel"], [f"{name}_band"]
        ),
        helper.make_node("ReduceMax", [f"{name}_band"], [name], axes=[1, 2], keepdims=1),
    ]


def _decoder() -> onnx.ModelProto:
    """(batch, 2) tokens to (batch, tokens), of the last one."""
    nodes = [
        helper.make_node("Gather", ["y", "last"], ["token"], axis=1),
        helper.make_node("Gather", ["after", "token"], ["decoder_out"], axis=0),
    ]
    return make_network(
        "decoder",
        nodes,
        (
            [helper.make_tensor_value_info("y", TensorProto.INT64, ["batch", 2])],
            [_value("decoder_out", ["batch", len(TOKENS)])],
        ),
        {"last": np.array(1, np.int64), "after": AFTER},
        {"vocab_size": len(TOKENS), "context_size": 2},
    )


def _joiner() -> onnx.ModelProto:
    sides = [_value(name, ["batch", len(TOKENS)]) for name in ("encoder_out", "decoder_out")]
    nodes = [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])]
    logit = _value("logit", ["batch", len(TOKENS)])
    return make_network("joiner", nodes, (sides, [logit]), {}, {"joiner_dim": len(TOKENS)})


def _ints(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


if __name__ == "__main__":
    main()
