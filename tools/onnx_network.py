"""Networks in ONNX's format that are written down node by node, for tests of what loads models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Ends = tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]
Constants = dict[str, NDArray[np.float32] | NDArray[np.int32] | NDArray[np.int64]]


def make_network(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    ends: Ends,
    constants: Constants,
    fields: Mapping[str, int | str],
) -> onnx.ModelProto:
    """A network that ONNX's own check has passed.

    Args:
        name: of the graph.
        nodes: in an order in which they can be run.
        ends: its inputs and its outputs.
        constants: tensors by the names that nodes read.
        fields: its metadata.
    """
    tensors = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    helper.set_model_props(model, {key: str(value) for key, value in fields.items()})
    onnx.checker.check_model(model, full_check=True)
    return model
