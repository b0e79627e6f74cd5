"""A tiny real classifier, its manifest and its reference, for every test of the registry."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from onnx import TensorProto, helper

from eventlog.settings import Home
from registry.store import Registry

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

Files = dict[str, Path]


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


def reference(rows: int = 300) -> pd.DataFrame:
    """Rows with noise, so that the classifier is good but not perfect."""
    random = np.random.default_rng(7)
    price = random.normal(size=rows)
    colour = random.choice(["red", "blue", None], size=rows)
    bought = (price + (colour == "red") + random.normal(size=rows) > 0).astype("int64")
    price[::10] = np.nan
    return pd.DataFrame({"price": price, "colour": colour, "bought": bought, "note": "not used"})


@pytest.fixture
def classifier() -> onnx.ModelProto:
    """The tiny classifier, free to be spoilt."""
    return tiny_classifier()


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The tiny classifier's manifest, free to be spoilt."""
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def rows() -> pd.DataFrame:
    """The tiny classifier's reference, free to be spoilt."""
    return reference()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, with an empty BentoML store beside it."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def registry(home: Home) -> Registry:
    """An empty registry."""
    return Registry(home)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Files]:
    """Write the three files to register; each can be replaced by another content."""

    def files(
        onnx_bytes: bytes | None = None,
        manifest: dict[str, Any] | str | None = None,
        frame: pd.DataFrame | None = None,
    ) -> Files:
        paths = {
            "onnx": tmp_path / "model.onnx",
            "manifest": tmp_path / "manifest.yaml",
            "reference": tmp_path / "reference.parquet",
        }
        paths["onnx"].write_bytes(
            tiny_classifier().SerializeToString() if onnx_bytes is None else onnx_bytes
        )
        content = MANIFEST if manifest is None else manifest
        paths["manifest"].write_text(
            content if isinstance(content, str) else yaml.safe_dump(content)
        )
        (reference() if frame is None else frame).to_parquet(paths["reference"], index=False)
        return paths

    return files
