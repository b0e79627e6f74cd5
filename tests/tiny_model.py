"""A tiny real classifier, its manifest and its reference, for all tests."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import yaml
from onnx import TensorProto, helper

from driftline.first_promotion import promote_first
from registry.manifest import Version
from registry.store import Registry
from tests.checked_files import checked_once

MANIFEST: dict[str, Any] = {
    "task": "classification",
    "held_out": True,
    "target": "bought",
    "features": [
        {"name": "price", "kind": "numeric", "nullable": True},
        {"name": "colour", "kind": "categorical", "nullable": True},
    ],
    "prediction": {"label": "label", "probabilities": "probabilities", "classes": [0, 1]},
}
BINARY = {**MANIFEST["prediction"], "positive": 1}  # of which the score is looked at, too


def tiny_classifier() -> onnx.ModelProto:
    """P(1) = sigmoid(price + 1 if red else price); a missing price counts as 0."""
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    nodes = [
        helper.make_node("IsNaN", ["price"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "price"], ["known"]),
        helper.make_node(
            "LabelEncoder",
            ["colour"],
            ["redness"],
            domain="ai.onnx.ml",
            keys_strings=["red"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Add", ["known", "redness"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("price", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("colour", TensorProto.STRING, [None, 1]),
        ],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        constants,
    )
    return as_model(graph)


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """The graph as a file of an opset that ONNX Runtime knows."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def filled(operator: str) -> onnx.ModelProto:
    """A model whose output has as many elements as its input says."""
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    node = helper.make_node(operator, ["shape"], ["y"], value=value)
    return as_model(
        helper.make_graph(
            [node],
            "filled",
            [helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        )
    )


def reference(rows: int = 300) -> pd.DataFrame:
    """Rows with noise, so that the classifier is good but not perfect."""
    random = np.random.default_rng(7)
    price = random.normal(size=rows)
    colour = random.choice(["red", "blue", None], size=rows)
    bought = (price + (colour == "red") + random.normal(size=rows) > 0).astype("int64")
    price[::10] = np.nan
    return pd.DataFrame({"price": price, "colour": colour, "bought": bought, "note": "not used"})


def write_tiny(folder: Path, *, rows: int = 300, **changes: Any) -> None:
    """Write the three files that a version is registered from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(tiny_classifier().SerializeToString())
    (folder / "manifest.yaml").write_text(yaml.safe_dump(MANIFEST | changes))
    (folder / "reference.parquet").write_bytes(reference_file(rows))


@cache
def reference_file(rows: int) -> bytes:
    return reference(rows).to_parquet(index=False)


def register_tiny(
    registry: Registry,
    folder: Path,
    model: str = "tiny",
    *,
    rows: int = 300,
    promoted: bool = False,
    **changes: Any,
) -> Version:
    """Register the classifier from files below `folder`; `changes` replace manifest fields."""
    write_tiny(folder, rows=rows, **changes)
    return register_served(
        registry,
        folder / "model.onnx",
        model=model,
        manifest=folder / "manifest.yaml",
        reference=folder / "reference.parquet",
        promoted=promoted,
    )


def register_served(
    registry: Registry, onnx: Path | bytes, *, model: str, promoted: bool = True, **files: Any
) -> Version:
    """Register a version as `driftline register` does, which promotes the first of a model."""
    with checked_once():
        version = registry.register(onnx, model=model, **files)
    if promoted:
        promote_first(registry, version, "tests")
    return version
