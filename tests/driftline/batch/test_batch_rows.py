"""Values of files become tensors unchanged, or their row is rejected."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftline.batch.outputs import OutputColumns
from driftline.batch.rows import read_rows
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec

LARGE = 2**53 + 1  # no float holds it


def manifest(datatype: str, *, nullable: bool = False) -> Manifest:
    kind: Any = "categorical" if datatype == "BYTES" else "numeric"
    spec = TensorSpec("x", datatype, [-1, 1])
    return Manifest(
        features=[Feature("x", kind, nullable=nullable, input="x")],
        signature=Signature([spec], [TensorSpec("y", "FP32", [-1, 3])]),
    )


@pytest.mark.parametrize(
    ("datatype", "column", "values", "rejected"),
    [
        ("INT64", pa.array([LARGE, None, 3]), [LARGE, 3], [1]),
        ("INT64", pa.array([str(LARGE), "", "3.0", "1.5", "9" * 30]), [LARGE, 3], [1, 3, 4]),
        ("INT64", pa.array([str(LARGE), None, "3"]), [LARGE, 3], [1]),
        ("INT64", pa.array([1.0, 1.5, float("nan")]), [1], [1, 2]),
        ("UINT8", pa.array([255, 256, -1]), [255], [1, 2]),
        ("BOOL", pa.array(["true", "False", "1", "2", "yes"]), [True, False, True], [3, 4]),
        ("BOOL", pa.array([True, False, None]), [True, False], [2]),
        ("FP32", pa.array([1e39, 1.0, float("inf")]), [1.0, float("inf")], [0]),
        ("FP32", pa.array([" 1.5", "NA", "abc", "1_0"]), [1.5], [1, 2, 3]),
        ("FP16", pa.array([70_000, 2]), [2.0], [0]),
        ("BYTES", pa.array(["a", None, ""]), ["a", ""], [1]),
        ("BYTES", pa.array(["a", None, "b"]).dictionary_encode(), ["a", "b"], [1]),
        ("BYTES", pa.nulls(2), [], [0, 1]),
    ],
)
def test_values_are_as_stated_or_rejected(
    datatype: str, column: pa.Array, values: list[Any], rejected: list[int]
) -> None:
    read = read_rows(manifest(datatype), pa.table({"x": column}))
    assert sorted(read.rejects) == rejected
    assert read.places.tolist() == [n for n in range(len(column)) if n not in rejected]
    if values:
        assert read.tensors["x"].ravel().tolist() == values


def test_an_empty_value_is_valid_if_the_manifest_allows_it() -> None:
    read = read_rows(manifest("FP64", nullable=True), pa.table({"x": pa.array([None, 1.0])}))
    assert not read.rejects
    assert np.isnan(read.tensors["x"][0, 0])


def test_outputs_without_a_prediction_are_lists_and_clashing_names_change() -> None:
    copied = [pa.field("y", pa.int64()), pa.field("prediction_id", pa.string())]
    columns = OutputColumns(manifest("FP32"), copied)
    rows = pa.table({"y": [7, 8], "prediction_id": ["a", "b"]})
    table = columns.table(rows, np.array([1]), {"y": np.array([[1, 2, 3]], np.float32)}, "id-0")
    assert table.to_pydict() == {
        "y": [7, 8], "prediction_id": ["a", "b"], "@y": [None, [1.0, 2.0, 3.0]],
        "@prediction_id": [None, "id-0"], "prediction_row": [None, 0],
    }  # fmt: skip


def test_labels_that_are_derived_have_the_type_of_the_classes() -> None:
    spec = TensorSpec("s", "FP32", [-1, 2])
    found = Manifest(
        task="classification",
        features=[Feature("x", "numeric", input="x")],
        signature=Signature([TensorSpec("x", "FP32", [-1])], [spec]),
        prediction=Prediction(scores="s", classes=["no", "yes"], activation="softmax"),
    )
    columns = OutputColumns(found, [])
    scores = np.array([[0.0, 1.0], [3.0, 0.0]], np.float32)
    outputs = columns.with_derived({"s": scores})
    table = columns.table(pa.table({"x": [0, 0]}), np.arange(2), outputs, "p")
    assert table.column("prediction").to_pylist() == ["yes", "no"]
    assert table.column_names[:3] == ["prediction", "probability_no", "probability_yes"]
