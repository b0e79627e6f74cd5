"""Fields that registration infers, and the questions that it asks."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import yaml
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from registry.errors import InvalidManifest, InvalidReference
from registry.inference_record import Inference, read_inference
from registry.manifest import Manifest, Version
from registry.reference import load_reference
from registry.reference_path import has_reference
from registry.store import Registry
from tests.registry.test_any_shape import FLOAT, identity, image, info, model, node
from tests.row_models import layers
from tests.tiny_model import MANIFEST, reference, tiny_classifier

Register = Callable[..., Version]


@pytest.fixture
def register(registry: Registry, tmp_path: Path) -> Register:
    def add(
        proto: onnx.ModelProto,
        rows: pd.DataFrame | dict[str, Any] | bytes | None = None,
        target: str = "",
        **manifest: Any,
    ) -> Version:
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(manifest))
        path = tmp_path / "rows"
        if isinstance(rows, pd.DataFrame):
            rows.to_parquet(path, index=False)
        elif isinstance(rows, dict):
            with path.open("wb") as file:
                np.savez(file, **rows)
        elif rows is not None:
            path.write_bytes(rows)
        return registry.register(
            tmp_path / "m.onnx",
            model="any",
            manifest=tmp_path / "m.yaml" if manifest else None,
            reference=None if rows is None else path,
            target=target,
        )

    return add


def inferred(version: Version) -> Inference:
    return read_inference(Path(version.path))


def kinds(manifest: Manifest) -> dict[str, str]:
    return {feature.name: feature.kind for feature in manifest.features}


def test_single_column_inputs_become_features_and_outputs_the_prediction(
    register: Register,
) -> None:
    version = register(tiny_classifier(), reference(), "bought", held_out=True)
    assert version.manifest == register(tiny_classifier(), reference(), **MANIFEST).manifest
    assert inferred(version).questions == []


def test_the_same_file_alone_is_a_classifier_too(register: Register) -> None:
    manifest = register(tiny_classifier()).manifest
    assert kinds(manifest) == {"price": "numeric", "colour": "categorical"}
    assert manifest.task == "classification"
    assert manifest.prediction.classes == [0, 1]


def test_a_forest_takes_the_columns_of_the_reference_in_their_order(register: Register) -> None:
    frame, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    values = frame.to_numpy(np.float32)
    model = RandomForestClassifier(20, max_depth=5, random_state=0).fit(
        values[:300], labels[:300].map({0: "malignant", 1: "benign"})
    )
    exported = to_onnx(model, values[:1], options={"zipmap": False}, target_opset=15)
    rows = frame[300:].assign(kind=labels[300:].map({0: "malignant", 1: "benign"}))
    version = register(exported, rows, "kind", held_out=True)
    assert [feature.name for feature in version.manifest.features] == list(frame.columns)
    assert version.manifest.prediction.classes == ["benign", "malignant"]
    assert "probability_malignant" in load_reference(version)


def test_a_forest_that_answers_a_number_is_a_regression(register: Register) -> None:
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    values = frame.to_numpy(np.float32)
    model = RandomForestRegressor(10, max_depth=4, random_state=0).fit(values, target)
    exported = to_onnx(model, values[:1], target_opset=15)
    version = register(exported, frame.assign(y=target), "y")
    assert version.manifest.task == "regression"
    (question,) = inferred(version).questions
    assert (
        "was the model trained on the rows of the reference? If not, state --held-out" in question
    )
    assert register(exported).manifest.task == "regression"


def test_integers_with_few_values_become_categories_with_a_question(register: Register) -> None:
    rows = pd.DataFrame({"x": np.arange(300) % 5, "y": np.arange(300)})
    version = register(identity(None, 2), rows)
    assert kinds(version.manifest) == {"x": "categorical", "y": "numeric"}
    assert "'x' has 5 different integers: codes or amounts?" in inferred(version).questions[0]


def test_missing_values_make_a_feature_nullable(register: Register) -> None:
    rows = pd.DataFrame({"a": [1.5, np.nan], "b": [1.0, 2.0]})
    features = register(identity(None, 2), rows).manifest.features
    assert [feature.nullable for feature in features] == [True, False]


def test_a_manifest_can_state_only_deviations(register: Register) -> None:
    version = register(
        tiny_classifier(), reference(), "bought", prediction={"positive": 0}, held_out=True
    )
    assert version.manifest.prediction.positive == 0
    assert version.manifest.prediction.probabilities == "probabilities"


def test_ambiguous_columns_are_refused_with_the_remedy(register: Register) -> None:
    rows = pd.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]})
    with pytest.raises(InvalidReference, match=r"'x' has 2 columns.*'a', 'b', 'c'.*manifest"):
        register(identity(None, 2), rows)


def test_a_target_that_no_output_predicts_is_refused_with_a_question(register: Register) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 3.0], "t": ["x", "y"]})
    with pytest.raises(InvalidManifest, match=r"prediction of 't': is output 'y' the.*scor"):
        register(identity(None, 2), rows, "t")


def test_scores_become_labels_and_probabilities_of_the_reference(register: Register) -> None:
    rows = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0], "t": ["u", "v"]})
    prediction = {"scores": "y", "activation": "softmax", "classes": ["u", "v"]}
    version = register(identity(None, 2), rows, "t", prediction=prediction, held_out=True)
    frame = load_reference(version)
    assert frame["prediction"].tolist() == ["v", "u"]
    assert frame["probability_u"].round(3).tolist() == [0.269, 0.731]


def test_arrays_of_a_vector_input_become_features(register: Register) -> None:
    version = register(identity(None, 3), {"x": np.random.default_rng(0).normal(size=(200, 3))})
    assert kinds(version.manifest) == {f"x_{i}": "numeric" for i in range(3)}
    assert len(load_reference(version)) == 200


def test_a_npy_file_is_for_the_only_input(register: Register) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((50, 3), np.float32))
    assert list(kinds(register(identity(None, 3), buffer.getvalue()).manifest)) == [
        "x_0", "x_1", "x_2",
    ]  # fmt: skip


def test_a_csv_file_is_a_reference(register: Register) -> None:
    version = register(identity(None, 2), b"a,b\n1.5,2.5\n2.5,3.5\n")
    assert list(kinds(version.manifest)) == ["a", "b"]


def test_a_reference_of_images_contains_their_summaries(register: Register) -> None:
    images = np.random.default_rng(1).random((40, 3, 8, 8), dtype=np.float32)
    version = register(image(batch="batch"), {"image": images})
    frame = load_reference(version)
    assert version.manifest.features == []
    assert list(frame) == [summary.name for summary in version.manifest.summaries or []]
    assert len(frame) == 40
    assert frame.notna().all().all()


def test_a_reference_of_images_for_a_model_without_batch_dimension(register: Register) -> None:
    images = np.random.default_rng(1).random((5, 4, 6), dtype=np.float32)
    mean = node("ReduceMean", ["x"], ["y"], keepdims=0)
    one = model([mean], [info("x", FLOAT, [4, 6])], [info("y", FLOAT, [])])
    frame = load_reference(register(one, {"x": images}))
    assert len(frame) == 5
    assert len(frame.columns) > 4


def test_arrays_of_another_shape_are_refused(register: Register) -> None:
    with pytest.raises(
        InvalidReference, match=r"'image': rows have shape \[4, 8, 8\]; expected \[3"
    ):
        register(image(batch="batch"), {"image": np.zeros((2, 4, 8, 8), np.float32)})


def test_many_unnamed_columns_become_a_vector(register: Register) -> None:
    version = register(layers("batch"))
    assert len(version.manifest.features) == 64
    assert register(identity(None, 384)).manifest.features == []
    assert not has_reference(version)


def test_strings_of_a_single_input_become_text_with_a_question(register: Register) -> None:
    version = register(identity(None, kind=onnx.TensorProto.STRING))
    assert version.manifest.features == []
    assert "texts or categories? It is monitored as text" in inferred(version).questions[0]


def test_a_target_that_is_not_a_column_is_named(register: Register) -> None:
    with pytest.raises(InvalidReference, match="no column 'late'; it has 'price', 'colour'"):
        register(tiny_classifier(), reference(), "late")
