"""Graphs that registration changes in the served copy."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from registry.batching import one_by_one, read_verdict
from registry.errors import InvalidModel
from registry.inference_record import read_inference
from registry.onnx_file import load
from registry.store import Registry
from tests.registry.conftest import Files


def test_a_zipmap_is_removed_and_both_digests_are_kept(registry: Registry) -> None:
    values, labels = load_iris(return_X_y=True)
    values = values.astype(np.float32)
    model = LogisticRegression(max_iter=500).fit(values, labels)
    exported = to_onnx(model, values[:1], target_opset=15).SerializeToString()
    version = registry.register(exported, model="iris")
    assert version.manifest.task == "classification"
    assert version.manifest.prediction.classes == [0, 1, 2]
    inference = read_inference(Path(version.path))
    assert inference.original == hashlib.sha256(exported).hexdigest()
    assert "ZipMap removed" in inference.changes[0]
    served = load((Path(version.path) / "model.onnx").read_bytes())
    _, probabilities = served.run(None, {"X": values[:5]})
    np.testing.assert_allclose(probabilities, model.predict_proba(values[:5]), atol=1e-5)


def test_a_label_declared_for_one_row_is_corrected(registry: Registry) -> None:
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)],
        "boosted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, [1])],
    )
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    version = registry.register(model.SerializeToString(), model="boosted")
    assert version.manifest.signature is not None
    assert version.manifest.signature.outputs[0].shape == [-1]
    verdict = read_verdict(version)
    assert verdict is not None
    assert one_by_one(version.manifest, verdict) == ""


def test_a_file_that_needs_no_change_is_served_as_it_is(
    registry: Registry, write: Callable[..., Files]
) -> None:
    files = write()
    version = registry.register(files["onnx"], model="tiny")
    assert (Path(version.path) / "model.onnx").read_bytes() == files["onnx"].read_bytes()
    assert read_inference(Path(version.path)).original == ""


def _declared(nodes: list[onnx.NodeProto], *outputs: onnx.ValueInfoProto) -> bytes:
    graph = helper.make_graph(
        nodes,
        "declared",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        list(outputs),
    )
    opsets = [helper.make_opsetid("", 18)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("stated", "answered"),
    [
        ([None], [-1, 1]),  # CatBoost's regression
        ([2, 1], [-1, 1]),  # PyTorch: the rows of the example
        ([3, 1], [-1, 1]),  # also where the example has as many as the first run
    ],
)
def test_a_shape_that_runs_contradict_is_corrected(
    registry: Registry, stated: list[Any], answered: list[int]
) -> None:
    mean = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_node("Constant", [], ["axes"], value_ints=[1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, stated)
    model = onnx.load_model_from_string(_declared([axes, mean], output))
    version = registry.register(model.SerializeToString(), model="declared")
    assert version.manifest.signature is not None
    assert version.manifest.signature.outputs[0].shape == answered
    (change,) = read_inference(Path(version.path)).changes
    assert change.endswith("but has the shape [N, 1]")


def test_an_output_without_rows_keeps_its_declared_shape(registry: Registry) -> None:
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    data = _declared([total], helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1]))
    version = registry.register(data, model="total")
    assert version.manifest.signature is not None
    assert version.manifest.signature.outputs[0].shape == [1, 1]
    assert (Path(version.path) / "model.onnx").read_bytes() == data


@pytest.mark.parametrize("locale", ["", "en_US", "en_US.UTF-8"])
def test_text_operators_need_no_locale_of_the_machine(registry: Registry, locale: str) -> None:
    stated = {"locale": locale} if locale else {}
    lower = helper.make_node(
        "StringNormalizer", ["text"], ["lower"], case_change_action="LOWER", **stated
    )
    shape = helper.make_tensor_value_info("text", TensorProto.STRING, [None])
    answer = helper.make_tensor_value_info("lower", TensorProto.STRING, [None])
    graph = helper.make_graph([lower], "texts", [shape], [answer])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    version = registry.register(model.SerializeToString(), model="texts")
    assert "locale C.UTF-8" in read_inference(Path(version.path)).changes[0]
    served = load((Path(version.path) / "model.onnx").read_bytes())
    (found,) = served.run(None, {"text": np.array(["GRÜN Éire"], dtype=object)})
    assert found.tolist() == ["grün éire"]


def test_an_explicit_locale_is_kept(registry: Registry) -> None:
    lower = helper.make_node(
        "StringNormalizer", ["text"], ["lower"], case_change_action="LOWER", locale="tlh_QO"
    )
    shape = helper.make_tensor_value_info("text", TensorProto.STRING, [None])
    answer = helper.make_tensor_value_info("lower", TensorProto.STRING, [None])
    graph = helper.make_graph([lower], "texts", [shape], [answer])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    with pytest.raises(InvalidModel, match="expected a locale of every machine"):
        registry.register(model.SerializeToString(), model="texts")
