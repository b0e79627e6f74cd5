"""The arguments of an example for `driftline.register`."""

from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto, helper

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
node, info = helper.make_node, helper.make_tensor_value_info
EXTENSIONS = "ai.onnx.contrib"  # domain of the operators of onnxruntime-extensions


@dataclass(frozen=True)
class Example:
    """A model and what is known about it."""

    model: Any  # as driftline.register takes it
    reference: Any = None  # rows that it was not trained on
    target: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Return the graph as a file that ONNX Runtime reads, with or without the extensions."""
    domains = {"": 18, EXTENSIONS: 1, "com.microsoft.extensions": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return model
