"""References: refusals and stored predictions."""

import msgspec
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper

from registry.errors import InvalidModel, InvalidReference
from registry.manifest import (
    Feature,
    Manifest,
    Monitoring,
    Prediction,
    Signature,
    Summary,
    TensorSpec,
)
from registry.onnx_file import load
from registry.reference import answer_reference, doubts
from registry.reference_file import parse_reference
from registry.signature import read_signature

MANIFEST = Manifest(
    task="classification",
    held_out=True,
    target="bought",
    max_batch_size=128,
    features=[
        Feature("price", "numeric", nullable=True, input="price"),
        Feature("colour", "categorical", nullable=True, input="colour"),
    ],
    prediction=Prediction("label", "probabilities", [0, 1], positive=1),
    signature=Signature(
        [TensorSpec("price", "FP32", [-1, 1]), TensorSpec("colour", "BYTES", [-1, 1])],
        [TensorSpec("label", "INT64", [-1]), TensorSpec("probabilities", "FP32", [-1, 2])],
    ),
)


@pytest.fixture
def session(classifier: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return load(classifier.SerializeToString())


def test_every_row_is_stored_with_the_models_prediction(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    manifest, stored = answer_reference(session, MANIFEST, rows)
    feed = {
        "price": rows[["price"]].to_numpy(dtype=np.float32),
        "colour": rows[["colour"]].fillna("").to_numpy(dtype=object),
    }
    label, probabilities = session.run(None, feed)
    assert manifest == MANIFEST
    assert list(stored) == [
        "price", "colour", "bought", "prediction", "probability_0", "probability_1",
    ]  # fmt: skip
    assert stored["prediction"].tolist() == label.tolist()
    assert (
        stored["probability_1"].to_numpy(dtype=np.float32).tolist() == probabilities[:, 1].tolist()
    )
    assert stored["bought"].tolist() == rows["bought"].tolist()


def test_features_are_stored_as_the_model_received_them(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    _, stored = answer_reference(session, MANIFEST, rows)
    expected = rows["price"].astype("float32").astype("float64")
    pd.testing.assert_series_equal(stored["price"], expected)
    missing = rows["colour"].isna()
    assert stored["colour"][missing].tolist() == [None] * int(missing.sum())


def test_a_boolean_target_becomes_the_class_it_equals(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    rows["bought"] = rows["bought"].astype(bool)
    _, stored = answer_reference(session, MANIFEST, rows)
    assert stored["bought"].dtype == np.int64


def test_unstated_classes_are_taken_from_the_reference(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    without = msgspec.structs.replace(MANIFEST, prediction=Prediction("label"))
    manifest, stored = answer_reference(session, without, rows)
    assert manifest.prediction.classes == [0, 1]
    assert "probability_1" not in stored
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop(columns="price"), "no column 'price'; it has 'colour', 'bought', 'note'"),
        (lambda f: f.drop(columns="bought"), "no column 'bought'"),
        (lambda f: f.head(0), "no rows"),
        (lambda f: f.assign(bought=f["bought"].where(f.index != 7)), "1 rows without .* row 7"),
        (lambda f: f.assign(bought=2), "row 0: target 2 is not in prediction.classes"),
        (lambda f: f.assign(bought="yes"), "row 0: target 'yes' is not in prediction.classes"),
        (lambda f: f.assign(price="dear"), "row 0, feature 'price': expected a number"),
        (lambda f: f.assign(colour=3), "row 0, feature 'colour': expected a string"),
    ],
)
def test_rows_that_do_not_match_the_manifest_are_refused(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame, spoil: object, message: str
) -> None:
    assert callable(spoil)
    with pytest.raises(InvalidReference, match=message):
        answer_reference(session, MANIFEST, spoil(rows))


def test_nan_in_a_feature_that_is_not_nullable_is_refused(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    features = [Feature("price", "numeric", input="price"), MANIFEST.features[1]]
    manifest = msgspec.structs.replace(MANIFEST, features=features)
    with pytest.raises(InvalidReference, match=r"row 0, feature 'price'.*not null.*got nan"):
        answer_reference(session, manifest, rows)


def test_classes_in_the_wrong_order_are_noticed(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    swapped = Prediction("label", "probabilities", [1, 0], positive=1)
    manifest = msgspec.structs.replace(MANIFEST, prediction=swapped)
    with pytest.raises(InvalidModel, match=r"\[1, 0\] is not the order of the columns"):
        answer_reference(session, manifest, rows)


def test_scores_that_are_not_probabilities_are_refused(
    classifier: onnx.ModelProto, rows: pd.DataFrame
) -> None:
    next(n for n in classifier.graph.node if n.op_type == "Sigmoid").op_type = "Neg"
    with pytest.raises(InvalidModel, match="'probabilities' has values that are not probabilities"):
        answer_reference(load(classifier.SerializeToString()), MANIFEST, rows)


def test_a_model_with_one_prediction_for_all_rows_is_refused(
    classifier: onnx.ModelProto, rows: pd.DataFrame
) -> None:
    classifier.graph.node[-1].attribute[0].i = 0  # ArgMax over the rows instead of the classes
    with pytest.raises(InvalidModel, match=r"'label' has shape \[2\]; expected 128 rows"):
        answer_reference(load(classifier.SerializeToString()), MANIFEST, rows)


def test_a_model_that_fails_on_a_row_is_refused_with_the_row(
    classifier: onnx.ModelProto, rows: pd.DataFrame
) -> None:
    two = helper.make_tensor("two", TensorProto.INT64, [2], [64, 2])
    classifier.graph.initializer.append(two)
    classifier.graph.node.append(helper.make_node("Reshape", ["margin", "two"], ["folded"]))
    classifier.graph.output.append(
        helper.make_tensor_value_info("folded", TensorProto.FLOAT, [None, 2])
    )
    session = load(classifier.SerializeToString())
    manifest = msgspec.structs.replace(
        MANIFEST, prediction=Prediction("folded"), signature=read_signature(session)
    )
    with pytest.raises(InvalidModel, match="the model fails on the rows from row 0"):
        answer_reference(session, manifest, rows.head(100))


def test_a_regression_stores_its_numbers(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    manifest = msgspec.structs.replace(
        MANIFEST, task="regression", prediction=Prediction("label"), target="price"
    )
    _, stored = answer_reference(session, manifest, rows[rows["price"].notna()])
    assert stored["prediction"].dtype == np.float64
    with pytest.raises(InvalidReference, match="'note' contains str; expected numbers"):
        answer_reference(session, msgspec.structs.replace(manifest, target="note"), rows)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PK\3\4", b"\x93NUMPY", b"\xff\xfe\0"])
def test_other_bytes_are_not_a_reference(content: bytes) -> None:
    with pytest.raises(InvalidReference, match=r"not a Parquet, CSV, \.npz or \.npy file"):
        parse_reference(content)


def test_a_plausible_reference_causes_no_warning(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    assert doubts(*answer_reference(session, MANIFEST, rows)) == []


def test_implausibly_good_ranking_causes_a_warning(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    _, stored = answer_reference(session, MANIFEST, rows)
    stored["bought"] = stored["prediction"]
    (doubt,) = doubts(MANIFEST, stored)
    assert "ROC AUC on the reference is 1.0000" in doubt


def test_implausibly_good_accuracy_and_fit_cause_a_warning() -> None:
    classification = msgspec.structs.replace(MANIFEST, prediction=Prediction("label"))
    regression = msgspec.structs.replace(classification, task="regression")
    frame = pd.DataFrame({"bought": [0, 1, 2], "prediction": [0, 1, 2]})
    assert "accuracy" in doubts(classification, frame)[0]
    assert "R2" in doubts(regression, frame)[0]


def test_a_reference_with_a_single_class_causes_a_warning() -> None:
    frame = pd.DataFrame({"bought": [0, 0], "prediction": [0, 1]})
    assert doubts(MANIFEST, frame) == ["the reference's target has only one class: 0"]


def test_an_identifier_among_the_features_is_named() -> None:
    chance = np.random.default_rng(1)
    ids = [f"order-{place}" for place in range(500)]
    frame = pd.DataFrame({"price": chance.normal(size=500), "colour": ids})
    frame = frame.assign(bought=chance.integers(0, 2, 500), prediction=0, probability_1=0.5)
    (doubt,) = doubts(MANIFEST, frame)
    assert doubt.startswith(
        "feature 'colour' looks like an identifier: 500 different values in 500"
    )
    (doubt,) = doubts(MANIFEST, frame.assign(colour="red", price=range(1_000, 1_500)))
    assert doubt.startswith("feature 'price' looks like an identifier")
    ignored = [msgspec.structs.replace(one, monitor=False) for one in MANIFEST.features]
    assert doubts(msgspec.structs.replace(MANIFEST, features=ignored), frame) == []


def test_a_method_for_one_value_causes_a_warning_with_several_values() -> None:
    monitoring = Monitoring(drift_methods={"colour": "z", "price": "ks"})
    manifest = msgspec.structs.replace(MANIFEST, monitoring=monitoring)
    two = pd.DataFrame({"price": range(4), "colour": list("abab"), "bought": [0, 1, 0, 1]})
    two = two.assign(prediction=[1, 0, 0, 1], probability_1=[0.5, 0.4, 0.6, 0.4])
    assert doubts(manifest, two) == []
    (doubt,) = doubts(manifest, two.assign(colour=list("abcd")))
    assert "z compares one value of 'colour' with all others, but the reference has 4" in doubt


def test_a_summary_can_have_any_name(
    session: onnxruntime.InferenceSession, rows: pd.DataFrame
) -> None:
    summary = Summary("self", "probabilities", "max")
    manifest = msgspec.structs.replace(MANIFEST, summaries=[summary])
    _, stored = answer_reference(session, manifest, rows)
    greater = stored[["probability_0", "probability_1"]].max(axis=1)
    assert np.allclose(stored["self"], greater)
