"""Graphs that registration changes in the copy that is served."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from registry.batching import one_by_one, read_verdict
from registry.inference import read_inference
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
