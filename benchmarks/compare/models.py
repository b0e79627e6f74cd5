"""Create the models for the comparison.

All models accept an FP32 tensor `x` [N, features], and return `label` [N], `probabilities` [N, 2].
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from eventlog.settings import Home
from registry.store import Registry

Array = np.ndarray[Any, Any]
_HELD_OUT = 400  # rows of the reference
SAMPLED = "-sampled"  # suffix of a model's copy that logs one payload in 100
_STEPS, _WIDTH = 3000, 64  # layers and their width in the deep model
_WIDE = 1536


class Subject(msgspec.Struct, frozen=True):
    """One model, and the rows of one request."""

    name: str
    title: str
    path: Path  # ONNX file
    rows: Array  # FP32


def subjects(folder: Path, names: Collection[str]) -> list[Subject]:
    """Create and register models by name, in the home that the environment names."""
    deep = "3,000 steps of a layer of 64 (2 ms), 30 features, one row"
    large = "1 MiB of FP32: 256 rows of 1,024"
    makers: dict[str, Callable[[], Subject]] = {
        "small": lambda: small(folder),
        "deep": lambda: _subject(folder / "deep", deep, 30, 1, _deep),
        "large": lambda: _subject(folder / "large", large, 1024, 256, _linear),
        "image": lambda: image(folder / "image"),
    }
    return [make() for name, make in makers.items() if name in names]


def small(folder: Path) -> Subject:
    """Create and register the cheapest model."""
    return _subject(folder / "small", "100 trees, 30 features, one row", 30, 1, _forest)


def wide(folder: Path) -> Subject:
    """Create the model for batching: above 32 rows, the cost per row hardly changes."""
    title = "4 layers of 1,536 (38 MB of weights), 30 features, one row"
    return _subject(folder / "wide", title, 30, 1, _wide)


def image(folder: Path) -> Subject:
    """Create and register an image convolution by its file only, with default log and summaries."""
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    path.write_bytes(_convolution().SerializeToString())
    registry = Registry(Home.from_environment())
    registry.promote(folder.name, registry.register(path, model=folder.name).number)
    pixels = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)
    return Subject(folder.name, "an image of 3 x 224 x 224 (600 KB), one row", path, pixels)


def _subject(
    folder: Path,
    title: str,
    features: int,
    rows: int,
    make: Callable[[Array, Array], onnx.ModelProto],
) -> Subject:
    folder.mkdir(parents=True)
    values, labels = make_classification(2000, features, n_informative=8, random_state=0)
    values = values.astype(np.float32)
    path = folder / "model.onnx"
    path.write_bytes(make(values[_HELD_OUT:], labels[_HELD_OUT:]).SerializeToString())
    _register(folder, values[:_HELD_OUT], labels[:_HELD_OUT])
    return Subject(folder.name, title, path, values[:rows].round(6))


def _register(folder: Path, values: Array, labels: Array) -> None:
    names = [f"f{n}" for n in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names)
    frame.assign(y=labels).to_parquet(folder / "reference.parquet")
    manifest: dict[str, Any] = {
        "task": "classification",
        "held_out": True,
        "target": "y",
        "features": [
            {"name": name, "kind": "numeric", "input": "x", "index": n}
            for n, name in enumerate(names)
        ],
        "prediction": {
            "label": "label",
            "probabilities": "probabilities",
            "classes": [0, 1],
            "positive": 1,
        },
    }
    sampled = {"sample": {"share": 0.01, "digest": False}}
    for model, policy in ((folder.name + SAMPLED, sampled), (folder.name, {})):
        (folder / "manifest.yaml").write_bytes(msgspec.yaml.encode(manifest | {"payload": policy}))
        registry = Registry(Home.from_environment())
        version = registry.register(
            folder / "model.onnx",
            model=model,
            manifest=folder / "manifest.yaml",
            reference=folder / "reference.parquet",
        )
        registry.promote(model, version.number)


def _forest(values: Array, labels: Array) -> onnx.ModelProto:
    """Create a forest of 100 trees: a run costs microseconds."""
    from skl2onnx import to_onnx  # noqa: PLC0415 - the import takes a second
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    forest = RandomForestClassifier(100, max_depth=6, random_state=0).fit(values, labels)
    rows = FloatTensorType([None, values.shape[1]])
    model: onnx.ModelProto = to_onnx(
        forest, initial_types=[("x", rows)], options={"zipmap": False}, target_opset=18
    )
    return model


def _deep(values: Array, labels: Array) -> onnx.ModelProto:
    """Create one repeated small layer: a run takes about 2 ms for 1 to 32 rows."""
    del labels
    random = np.random.default_rng(0)
    first = random.normal(0, 0.2, (values.shape[1], _WIDTH))
    step = random.normal(0, _WIDTH**-0.5, (_WIDTH, _WIDTH))
    return _layers([first, *[step] * _STEPS, random.normal(0, 0.2, (_WIDTH, 2))])


def _wide(values: Array, labels: Array) -> onnx.ModelProto:
    """Create a few large layers: up to 32 rows, reading the weights dominates the run time."""
    del labels
    random = np.random.default_rng(0)
    first = random.normal(0, 0.2, (values.shape[1], _WIDE))
    layers = [random.normal(0, _WIDE**-0.5, (_WIDE, _WIDE)) for _ in range(4)]
    return _layers([first, *layers, random.normal(0, 0.2, (_WIDE, 2))])


def _linear(values: Array, labels: Array) -> onnx.ModelProto:
    """Create one layer, so that the transfer of the rows dominates the cost."""
    del labels
    random = np.random.default_rng(0)
    return _layers([random.normal(0, 0.03, (values.shape[1], 2))])


def _convolution() -> onnx.ModelProto:
    """Create 48 filters of 7 x 7 and a layer: a run takes some milliseconds."""
    random = np.random.default_rng(0)
    weights = {
        "filters": random.normal(0, 0.1, (48, 3, 7, 7)),
        "last": random.normal(0, 0.1, (48, 2)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["maps"], strides=[2, 2], pads=[3, 3, 3, 3]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
        helper.make_node("MatMul", ["vector", "last"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 224, 224])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            numpy_helper.from_array(values.astype(np.float32), name)
            for name, values in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _layers(weights: list[Array]) -> onnx.ModelProto:
    """Chain one layer per weight; repeated weights are stored once."""
    names = {id(weight): f"w{n}" for n, weight in enumerate(weights)}
    constants = {
        names[id(weight)]: numpy_helper.from_array(weight.astype(np.float32), names[id(weight)])
        for weight in weights
    }
    nodes, carried = [], "x"
    for n, weight in enumerate(weights):
        last = n == len(weights) - 1
        turn, out = ("Softmax", "probabilities") if last else ("Tanh", f"out{n}")
        nodes.append(helper.make_node("MatMul", [carried, names[id(weight)]], [f"sum{n}"]))
        nodes.append(helper.make_node(turn, [f"sum{n}"], [out]))
        carried = out
    nodes.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, weights[0].shape[0]])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        list(constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
