"""Models with dependent rows, and ordinary models with independent rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import yaml
from onnx import TensorProto, helper

from registry.manifest import Version
from registry.store import Registry
from tests.tiny_model import as_model, register_served

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Graph = Callable[["int | str | None"], onnx.ModelProto]  # by the first dimension's name
node, info = helper.make_node, helper.make_tensor_value_info
_RANDOM = np.random.default_rng(11)


def _ints(name: str, *values: int) -> onnx.TensorProto:
    return helper.make_tensor(name, INT64, [len(values)], values)


def _floats(name: str, *shape: int, scale: float = 1.0) -> onnx.TensorProto:
    values = (_RANDOM.normal(size=shape) * scale).astype(np.float32)
    return helper.make_tensor(name, FLOAT, shape, values.ravel())


def _model(
    rows: Any,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    extra: list[onnx.ValueInfoProto] | None = None,
    width: int = 2,
) -> onnx.ModelProto:
    """Of input x [rows, width] and output y [rows, 1]."""
    x, y = info("x", FLOAT, [rows, width]), info("y", FLOAT, [rows, 1])
    return as_model(helper.make_graph(nodes, "case", [x], [y, *(extra or [])], constants))


_SUM = node("ReduceSum", ["x", "one"], ["y"], keepdims=1)
_ONE = _ints("one", 1)


def boxes(rows: Any) -> onnx.ModelProto:
    """For each row as many boxes [M] as its first number says, each holding its second."""
    nodes = [
        _SUM,
        node("Split", ["x", "halves"], ["count", "value"], axis=1),
        node("Cast", ["count"], ["whole"], to=INT64),
        node("Squeeze", ["whole", "one"], ["counts"]),
        node("Squeeze", ["value", "one"], ["values"]),
        node("CumSum", ["counts", "first"], ["ends"]),
        node("ReduceSum", ["counts"], ["total"], keepdims=0),
        node("Range", ["from", "total", "step"], ["places"]),
        node("Unsqueeze", ["places", "one"], ["column"]),
        node("GreaterOrEqual", ["column", "ends"], ["beyond"]),
        node("Cast", ["beyond"], ["passed"], to=INT64),
        node("ReduceSum", ["passed", "one"], ["owner"], keepdims=0),
        node("Gather", ["values", "owner"], ["boxes"]),
    ]
    constants = [
        _ONE,
        _ints("halves", 1, 1),
        helper.make_tensor("first", INT64, [], [0]),
        helper.make_tensor("from", INT64, [], [0]),
        helper.make_tensor("step", INT64, [], [1]),
    ]
    found = None if rows is None else "M"
    return _model(rows, nodes, constants, [info("boxes", FLOAT, [found])])


def gram(rows: Any) -> onnx.ModelProto:
    """The product of each row with each [N, N]."""
    nodes = [
        _SUM,
        node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        node("MatMul", ["x", "turned"], ["gram"]),
    ]
    return _model(rows, nodes, [_ONE], [info("gram", FLOAT, [rows, rows])])


def softmax(rows: Any) -> onnx.ModelProto:
    nodes = [
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("Softmax", ["sum"], ["y"], axis=0),
    ]
    return _model(rows, nodes, [_ONE])


def centred(rows: Any) -> onnx.ModelProto:
    nodes = [
        node("ReduceMean", ["x", "zero"], ["mean"], keepdims=1),
        node("Sub", ["x", "mean"], ["centred"]),
        node("ReduceSum", ["centred", "one"], ["y"], keepdims=1),
    ]
    return _model(rows, nodes, [_ONE, _ints("zero", 0)])


def running_sum(rows: Any) -> onnx.ModelProto:
    nodes = [
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("CumSum", ["sum", "first"], ["y"]),
    ]
    return _model(rows, nodes, [_ONE, helper.make_tensor("first", INT64, [], [0])])


def divided(rows: Any) -> onnx.ModelProto:
    """By the number of rows: nobody's values, and another answer all the same."""
    nodes = [
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("Shape", ["x"], ["rows"], start=0, end=1),
        node("Cast", ["rows"], ["count"], to=FLOAT),
        node("Div", ["sum", "count"], ["y"]),
    ]
    return _model(rows, nodes, [_ONE])


def divided_if_many(rows: Any) -> onnx.ModelProto:
    """By the number of rows beyond 100: small runs show nothing."""
    nodes = [
        node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        node("Shape", ["x"], ["rows"], start=0, end=1),
        node("Sub", ["rows", "hundred"], ["more"]),
        node("Max", ["more", "least"], ["by"]),
        node("Cast", ["by"], ["count"], to=FLOAT),
        node("Div", ["sum", "count"], ["y"]),
    ]
    return _model(rows, nodes, [_ONE, _ints("hundred", 100), _ints("least", 1)])


def quantized(rows: Any) -> onnx.ModelProto:
    """Dynamically: the scale is of all rows together."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "origin"]),
        node("DequantizeLinear", ["q", "scale", "origin"], ["rough"]),
        node("ReduceSum", ["rough", "one"], ["y"], keepdims=1),
    ]
    return _model(rows, nodes, [_ONE])


def padded(rows: Any) -> onnx.ModelProto:
    """The share of a text's words among those of the longest text; words [N, longest]."""
    nodes = [
        node("StringSplit", ["text"], ["words", "counts"], delimiter=" "),
        node("Shape", ["words"], ["longest"], start=1, end=2),
        node("Cast", ["longest"], ["most"], to=FLOAT),
        node("Cast", ["counts"], ["own"], to=FLOAT),
        node("Div", ["own", "most"], ["share"]),
        node("Unsqueeze", ["share", "one"], ["y"]),
    ]
    longest = None if rows is None else "longest"
    outputs = [info("y", FLOAT, [rows, 1]), info("words", STRING, [rows, longest])]
    graph = helper.make_graph(nodes, "case", [info("text", STRING, [rows])], outputs, [_ONE])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


DEPENDENT: dict[str, Graph] = {
    "boxes": boxes,
    "gram": gram,
    "softmax": softmax,
    "centred": centred,
    "running-sum": running_sum,
    "divided": divided,
    "divided-if-many": divided_if_many,
    "quantized": quantized,
    "padded": padded,
}


def layers(rows: Any) -> onnx.ModelProto:
    """A wide network with normalisation, so that sums are long."""
    nodes = [
        node("MatMul", ["x", "w1"], ["h1"]),
        node("Relu", ["h1"], ["r1"]),
        node("LayerNormalization", ["r1", "gain", "bias"], ["n1"], axis=-1),
        node("MatMul", ["n1", "w2"], ["h2"]),
        node("Softmax", ["h2"], ["s2"], axis=1),
        node("MatMul", ["s2", "w3"], ["y"]),
    ]
    constants = [
        _floats("w1", 64, 300),
        _floats("gain", 300),
        _floats("bias", 300),
        _floats("w2", 300, 90),
        _floats("w3", 90, 1, scale=100.0),
    ]
    return _model(rows, nodes, constants, width=64)


def convolution(rows: Any) -> onnx.ModelProto:
    nodes = [
        node("Reshape", ["x", "image"], ["pixels"]),
        node("Conv", ["pixels", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["maps", "gain", "bias", "mean", "var"], ["normal"]),
        node("Relu", ["normal"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w"], ["y"]),
    ]
    constants = [
        _ints("image", -1, 1, 8, 8),
        _floats("kernel", 16, 1, 3, 3),
        *(_floats(name, 16) for name in ("gain", "bias", "mean")),
        helper.make_tensor("var", FLOAT, [16], [1.0] * 16),
        _floats("w", 16, 1),
    ]
    return _model(rows, nodes, constants, width=64)


def lstm(rows: Any) -> onnx.ModelProto:
    """Over 64 steps, with the batch on the second axis inside."""
    nodes = [
        node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        node("Unsqueeze", ["turned", "two"], ["steps"]),
        node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=8),
        node("Squeeze", ["last", "zero"], ["state"]),
        node("MatMul", ["state", "out"], ["y"]),
    ]
    constants = [
        _ints("two", 2),
        _ints("zero", 0),
        _floats("w", 1, 32, 1),
        _floats("r", 1, 32, 8),
        _floats("out", 8, 1),
    ]
    return _model(rows, nodes, constants, width=64)


def attention(rows: Any) -> onnx.ModelProto:
    """Over eight tokens of eight numbers within each row."""
    nodes = [
        node("Reshape", ["x", "tokens"], ["t"]),
        node("Transpose", ["t"], ["keys"], perm=[0, 2, 1]),
        node("MatMul", ["t", "keys"], ["products"]),
        node("Softmax", ["products"], ["weights"], axis=-1),
        node("MatMul", ["weights", "t"], ["mixed"]),
        node("ReduceMean", ["mixed", "inner"], ["y2"], keepdims=0),
        node("Unsqueeze", ["y2", "one"], ["y"]),
    ]
    return _model(rows, nodes, [_ints("tokens", -1, 8, 8), _ints("inner", 1, 2), _ONE], width=64)


def embedding(rows: Any) -> onnx.ModelProto:
    """Of the remainder of each number, which it fails on below zero."""
    nodes = [
        node("Abs", ["x"], ["size"]),
        node("Cast", ["size"], ["number"], to=INT64),
        node("Mod", ["number", "entries"], ["place"]),
        node("Gather", ["table", "place"], ["vectors"]),
        node("ReduceSum", ["vectors", "inner"], ["sum"], keepdims=0),
        node("Unsqueeze", ["sum", "one"], ["y"]),
    ]
    constants = [_ints("entries", 50), _floats("table", 50, 16), _ints("inner", 1, 2), _ONE]
    return _model(rows, nodes, constants, width=64)


def cancelling(rows: Any) -> onnx.ModelProto:
    """Large terms that nearly cancel, as of unscaled columns: ill-conditioned, yet row by row."""
    weights = np.tile([1e6, -1e6], 32) + _RANDOM.normal(size=64)
    w = helper.make_tensor("w", FLOAT, [64, 1], weights.astype(np.float32))
    return _model(rows, [node("MatMul", ["x", "w"], ["y"])], [w], width=64)


INDEPENDENT: dict[str, Graph] = {
    "layers": layers,
    "convolution": convolution,
    "lstm": lstm,
    "attention": attention,
    "embedding": embedding,
    "cancelling": cancelling,
}


def reference(model: onnx.ModelProto, rows: int = 60) -> pd.DataFrame:
    """Ordinary rows for the inputs that the model has, and a target."""
    random = np.random.default_rng(5)
    stated = model.graph.input[0]
    truth = random.normal(size=rows)
    if stated.name == "text":
        words = ["a"] * 9
        texts = [" ".join(words[: int(count)]) for count in random.integers(1, 5, rows)]
        return pd.DataFrame({"text": texts, "truth": truth})
    width = stated.type.tensor_type.shape.dim[1].dim_value
    frame = pd.DataFrame(
        random.normal(size=(rows, width)).astype(np.float32),
        columns=[f"x{index}" for index in range(width)],
    )
    if width == 2:
        frame["x0"] = random.integers(1, 4, rows).astype(np.float32)
    return frame.assign(truth=truth)


def register_model(
    registry: Registry, folder: Path, name: str, model: onnx.ModelProto, **manifest: Any
) -> Version:
    """Register a model of this file, with rows of `reference`."""
    frame = reference(model)
    features = [
        {"name": column, "kind": "numeric", "input": "x", "index": index}
        for index, column in enumerate(frame.columns[:-1])
    ]
    if "text" in frame:
        features = [{"name": "text", "kind": "categorical"}]
    stated = {
        "task": "regression",
        "held_out": True,
        "target": "truth",
        "features": features,
        "prediction": {"label": "y"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "manifest.yaml").write_text(yaml.safe_dump(stated | manifest))
    frame.to_parquet(folder / "reference.parquet", index=False)
    return register_served(
        registry,
        folder / "model.onnx",
        model=name,
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
    )
