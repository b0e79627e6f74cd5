"""The arguments of an example for `driftline.register`."""

from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto, helper

FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8
node, info = helper.make_node, helper.make_tensor_value_info
EXTENSIONS = "ai.onnx.contrib"  # operator domain of onnxruntime-extensions


@dataclass(frozen=True)
class Example:
    """A model with its reference and manifest fields."""

    model: Any  # any model that driftline.register accepts
    reference: Any = None  # rows on which the model was not trained
    target: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Return the graph as a model; it may use operators of onnxruntime-extensions."""
    domains = {"": 18, EXTENSIONS: 1, "com.microsoft.extensions": 1}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return model
