"""The digits network as an ONNX graph in sherpa-onnx's T-one layout.

In: ``signal`` (batch, 2400, 1), int32 samples of 300 ms at 8 kHz, and ``state`` (batch, n) float16.
Out: ``logprobs`` (batch, 10, tokens) and the next ``state``. The state holds what each layer needs
of the past: the last samples, and the last inputs of every convolution.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

RATE_HZ = 8000
CHUNK_SAMPLES = 2400
FFT = 256
HOP = 120
OUT_SAMPLES = 2 * HOP
MELS = 40
CHANNELS = 96
TAPS = 4
BLOCKS = (1, 2, 4, 8, 1)
"""The dilation of each block, in frames of 30 ms."""

Weights = dict[str, NDArray[np.float32]]


@cache
def spectrum_kernel() -> NDArray[np.float32]:
    """Convolution that is a windowed Fourier transform: real parts, then imaginary parts."""
    angles = 2 * np.pi / FFT * np.outer(np.arange(FFT // 2 + 1), np.arange(FFT))
    kernel = np.concatenate((np.cos(angles), np.sin(angles))) * np.hanning(FFT)
    return kernel[:, None].astype(np.float32)


@cache
def mel_matrix() -> NDArray[np.float32]:
    """Triangular filters, evenly spaced in mel from 60 to 3,800 Hz: (bins, mels)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (60, 3800))
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    hz = np.arange(FFT // 2 + 1)[:, None] * RATE_HZ / FFT
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rising, falling), 0, None).astype(np.float32)


def export(weights: Weights, folder: Path) -> None:
    """Write ``model.onnx``."""
    graph = _Graph(weights)
    tokens = graph.build()
    signal = helper.make_tensor_value_info("signal", TensorProto.INT32, ["N", CHUNK_SAMPLES, 1])
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT16, ["N", graph.state_size])
    logs = helper.make_tensor_value_info(
        "logprobs", TensorProto.FLOAT, ["N", CHUNK_SAMPLES // OUT_SAMPLES, tokens]
    )
    after = helper.make_tensor_value_info(
        "state_next", TensorProto.FLOAT16, ["N", graph.state_size]
    )
    body = helper.make_graph(
        graph.nodes, "digits", [signal, state], [logs, after], graph.initializers
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    fields = {"frame_length_ms": 300, "state_dim": graph.state_size, "sample_rate": RATE_HZ}
    helper.set_model_props(model, {name: str(value) for name, value in fields.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")


class _Graph:
    """Nodes in the order in which they are computed, layer by layer."""

    def __init__(self, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._weights = weights
        self._constants: dict[str, str] = {}
        self._pasts = [FFT - HOP, *((TAPS - 1) * dilation * CHANNELS for dilation in BLOCKS)]
        self._ends = list(accumulate(self._pasts))
        self.state_size = self._ends[-1]
        self._kept: list[str] = []

    def build(self) -> int:
        """Add the whole network; return the number of tokens."""
        self._add("Cast", ["state"], "past", to=TensorProto.FLOAT)
        x = self._energies()
        x = self._linear(x, "in")
        for index, dilation in enumerate(BLOCKS):
            x = self._block(x, index, dilation)
        x = self._linear(x, "out")
        self._add("LogSoftmax", [x], "logprobs", axis=-1)
        joined = self._add("Concat", self._kept, "kept", axis=1)
        self._add("Cast", [joined], "state_next", to=TensorProto.FLOAT16)
        return len(self._weights["out.bias"])

    def _energies(self) -> str:
        """Log mel energies, two frames of 15 ms side by side."""
        whole = self._add("Cast", ["signal"], "whole", to=TensorProto.FLOAT)
        flat = self._add("Reshape", [whole, self._ints(0, CHUNK_SAMPLES)], "flat")
        unit = self._add("Div", [flat, self._const(32767.0)], "unit")
        samples = self._after_past(unit, 0, FFT - HOP, 1)
        column = self._add("Unsqueeze", [samples, self._ints(1)], "column")
        kernel = self._const(spectrum_kernel())
        parts = self._add("Conv", [column, kernel], "parts", strides=[HOP])
        squares = self._add("Mul", [parts, parts], "squares")
        bins = FFT // 2 + 1
        real = self._slice(squares, 0, bins, 1)
        imaginary = self._slice(squares, bins, 2 * bins, 1)
        power = self._add("Add", [real, imaginary], "power")
        frames = self._add("Transpose", [power], "frames", perm=[0, 2, 1])
        mel = self._add("MatMul", [frames, self._const(mel_matrix())], "mel")
        floored = self._add("Add", [mel, self._const(1e-5)], "floored")
        log = self._add("Log", [floored], "log")
        scaled = self._add("Div", [log, self._const(4.0)], "scaled")
        shifted = self._add("Add", [scaled, self._const(1.0)], "shifted")
        return self._add("Reshape", [shifted, self._ints(0, -1, 2 * MELS)], "pairs")

    def _block(self, x: str, index: int, dilation: int) -> str:
        name = f"block{index}"
        scale, shift = (self._const(self._weights[f"{name}.{part}"]) for part in ("scale", "shift"))
        normal = self._add(
            "LayerNormalization", [x, scale, shift], f"{name}.normal", axis=-1, epsilon=1e-5
        )
        length = CHUNK_SAMPLES // OUT_SAMPLES
        frames = self._after_past(normal, index + 1, (TAPS - 1) * dilation, CHANNELS)
        taps = [
            self._slice(frames, tap * dilation, tap * dilation + length, 1) for tap in range(TAPS)
        ]
        joined = self._add("Concat", taps, f"{name}.taps", axis=2)
        change = self._add("Relu", [self._linear(joined, name)], f"{name}.change")
        return self._add("Add", [x, change], f"{name}.out")

    def _after_past(self, x: str, part: int, length: int, width: int) -> str:
        """``x`` with what the state holds of before it in front; its own end is kept."""
        end = self._ends[part]
        flat = self._slice("past", end - self._pasts[part], end, 1)
        if width > 1:
            flat = self._add("Reshape", [flat, self._ints(0, length, width)], f"past{part}")
        joined = self._add("Concat", [flat, x], f"joined{part}", axis=1)
        kept = self._slice(joined, -length, 2**31, 1)
        if width > 1:
            kept = self._add("Reshape", [kept, self._ints(0, length * width)], f"kept{part}")
        self._kept.append(kept)
        return joined

    def _linear(self, x: str, name: str) -> str:
        weight, bias = (self._const(self._weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        product = self._add("MatMul", [x, weight], f"{name}.product")
        return self._add("Add", [product, bias], f"{name}.sum")

    def _slice(self, x: str, start: int, end: int, axis: int) -> str:
        inputs = [x, self._ints(start), self._ints(end), self._ints(axis)]
        return self._add("Slice", inputs, f"slice{len(self.nodes)}")

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _ints(self, *values: int) -> str:
        return self._const(np.array(values, np.int64))

    def _const(self, value: float | NDArray[np.float32] | NDArray[np.int64]) -> str:
        array = np.asarray(value) if isinstance(value, np.ndarray) else np.array(value, np.float32)
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name
