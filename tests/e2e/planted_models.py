"""Versions of the tiny classifier that are good on its reference and bad in production."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from registry.manifest import Version
from tests.service.conftest import Service
from tests.tiny_model import tiny_classifier, write_tiny

DEAR = 1_000.0  # a price that no row of the reference has
ROUNDS = 50_000  # of the loop of the slow model: about 100 ms


def invalid_for_dear_rows() -> onnx.ModelProto:
    """The classifier, but NaN for a price over 100."""
    model = tiny_classifier()
    _constant(model, "hundred", 100.0)
    _constant(model, "nan", float("nan"))
    _before_sigmoid(
        model,
        helper.make_node("Greater", ["known", "hundred"], ["dear"]),
        helper.make_node("Where", ["dear", "nan", "margin"], ["guarded"]),
    )
    return model


def wrong_for_dear_blue_rows() -> onnx.ModelProto:
    """The classifier, but the opposite for rows over a price of 5 that are not red."""
    model = tiny_classifier()
    _constant(model, "five", 5.0)
    _constant(model, "half", 0.5)
    _before_sigmoid(
        model,
        helper.make_node("Greater", ["known", "five"], ["dear"]),
        helper.make_node("Less", ["redness", "half"], ["blue"]),
        helper.make_node("And", ["dear", "blue"], ["both"]),
        helper.make_node("Neg", ["margin"], ["opposite"]),
        helper.make_node("Where", ["both", "opposite", "margin"], ["guarded"]),
    )
    return model


def slow(rounds: int = ROUNDS) -> onnx.ModelProto:
    """The classifier with the same answers, after a loop that adds nothing to them."""
    model = tiny_classifier()
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Cos", ["before"], ["after"]),
            helper.make_node("Identity", ["go_on"], ["again"]),
        ],
        "body",
        [
            value("round", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, []),
        ],
        [value("again", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [])],
    )
    count = np.array(rounds, np.int64)
    model.graph.initializer.append(numpy_helper.from_array(count, "rounds"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    _before_sigmoid(
        model,
        helper.make_node("ReduceSum", ["known"], ["sum"], keepdims=0),
        helper.make_node("Loop", ["rounds", "true", "sum"], ["result"], body=body),
        helper.make_node("Mul", ["result", "zero"], ["nothing"]),
        helper.make_node("Add", ["margin", "nothing"], ["guarded"]),
    )
    return model


def register(service: Service, model: onnx.ModelProto, files: Path) -> Version:
    """Register a model as a version of `tiny`, with the files of the classifier."""
    write_tiny(files)
    (files / "model.onnx").write_bytes(model.SerializeToString())
    return service.registry.register(
        files / "model.onnx",
        model="tiny",
        manifest=files / "manifest.yaml",
        reference=files / "reference.parquet",
    )


def _constant(model: onnx.ModelProto, name: str, number: float) -> None:
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [1], [number]))


def _before_sigmoid(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Insert nodes that make the tensor `guarded`, of which the sigmoid is taken then."""
    graph = model.graph
    (sigmoid,) = (node for node in graph.node if node.op_type == "Sigmoid")
    place = list(graph.node).index(sigmoid)
    sigmoid.input[0] = "guarded"
    for node in reversed(nodes):
        graph.node.insert(place, node)
