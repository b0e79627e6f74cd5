"""Manifests that cannot be read, and manifests that contradict their ONNX file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.errors import InvalidManifest
from registry.manifest import Manifest, Signature, TensorSpec
from registry.manifest_file import read_manifest
from registry.validation import complete

FOUND = Signature(
    [TensorSpec("price", "FP32", [-1, 1]), TensorSpec("colour", "BYTES", [-1, 1])],
    [TensorSpec("label", "INT64", [-1]), TensorSpec("probabilities", "FP32", [-1, 2])],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.yaml"


def read(path: Path, content: dict[str, Any]) -> Manifest:
    path.write_text(yaml.safe_dump(content))
    return read_manifest(path)


def test_a_manifest_is_completed_from_the_onnx_file(path: Path, manifest: dict[str, Any]) -> None:
    completed = complete(read(path, manifest), FOUND)
    assert completed.signature == FOUND
    assert [feature.input for feature in completed.features] == ["price", "colour"]
    assert completed.prediction.positive == 1


def test_a_regression_states_only_its_label(path: Path, manifest: dict[str, Any]) -> None:
    manifest |= {"task": "regression", "prediction": {"label": "label"}}
    assert complete(read(path, manifest), FOUND).prediction.positive is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: [classification", "is not YAML.*line 1"),
        ("", "Expected `object`, got `null`"),
        ("- a\n- b", "Expected `object`, got `array`"),
        ("features: 3", "Expected `array`, got `int` - at `\\$.features`"),
        ("task: guessing", "Invalid enum value 'guessing' - at `\\$.task`"),
        ("\x00", "is not YAML"),
    ],
)
def test_an_unreadable_manifest_is_refused_with_the_place(
    path: Path, content: str, message: str
) -> None:
    path.write_text(content)
    with pytest.raises(InvalidManifest, match=f"manifest.yaml.*{message}"):
        read_manifest(path)


def test_a_misspelt_field_is_named(path: Path, manifest: dict[str, Any]) -> None:
    manifest["monitoring"] = {"window": {"lenght": 3600}}
    with pytest.raises(InvalidManifest, match=r"unknown field `lenght` - at `\$.monitoring.window"):
        read(path, manifest)


def test_a_missing_file_is_an_error_of_the_manifest(path: Path) -> None:
    with pytest.raises(InvalidManifest, match="No such file"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        ("window", {"length": 0}, r">= 1 - at `\$.monitoring.window.length"),
        ("window", {"grace": -1}, r">= 0 - at `\$.monitoring.window.grace"),
        ("alarms", {"drifted_share": 2}, r"<= 1.0 - at `\$.monitoring.alarms.drifted_share"),
    ],
)
def test_a_setting_out_of_range_is_named(
    path: Path, manifest: dict[str, Any], section: str, settings: dict[str, Any], message: str
) -> None:
    manifest["monitoring"] = {section: settings}
    with pytest.raises(InvalidManifest, match=message):
        read(path, manifest)


def test_the_default_priority_must_be_a_declared_level(
    path: Path, manifest: dict[str, Any]
) -> None:
    queue = {"priority_levels": 3, "default_priority": 4}
    with pytest.raises(InvalidManifest, match="default_priority is 4; expected a level from 1 to"):
        read(path, manifest | {"queue": queue})


def price(**changes: Any) -> dict[str, Any]:
    return {
        "features": [
            {"name": "price", "kind": "numeric"} | changes,
            {"name": "colour", "kind": "categorical"},
        ]
    }


def prediction(**changes: Any) -> dict[str, Any]:
    stated = {"label": "label", "probabilities": "probabilities", "classes": [0, 1]}
    return {"prediction": stated | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"held_out": False}, "held_out is false: expected a reference that .* not trained on"),
        ({"target": "price"}, "target 'price' is also a feature"),
        (
            {"monitoring": {"alarms": {"timezone": "America/New York"}}},
            "monitoring.alarms.timezone: .*'America/New York'.*did you mean America/New_York",
        ),
        (
            {"monitoring": {"alarms": {"timezone": "localtime"}}},
            "monitoring.alarms.timezone: .*'localtime': expected a name of the IANA database",
        ),
        (price(name="", input="price"), "a feature or a summary has an empty name"),
        (price(name="cost"), "'cost': the ONNX file has no input 'cost'; .* 'colour', .*'price'"),
        (price(index=1), r"index 1 is outside input 'price' of shape \[-1, 1\]; expected 0 to 0"),
        (price(input="colour"), "'price' is numeric but input 'colour' is BYTES"),
        (price(name="colour", kind="categorical"), "named more than once: 'colour'"),
        (
            {"features": [{"name": "size", "kind": "numeric", "input": "pair"}]},
            "input 'pair', column 1 belongs to 0 features; expected exactly one feature",
        ),
        (
            {"summaries": [{"name": "a", "tensor": "size", "statistic": "mean"}]},
            "summary 'a': the ONNX file has no input or output 'size'",
        ),
        (
            {"summaries": [{"name": "a", "tensor": "colour", "statistic": "mean"}]},
            "'colour' is BYTES, which has no 'mean'; expected one of .*'length'",
        ),
        (
            {"summaries": [{"name": "price", "tensor": "price", "statistic": "mean"}]},
            "summaries have names of features or the target: 'price'",
        ),
        ({"task": "other"}, "prediction is stated, but task is 'other'"),
        ({"task": "other", "prediction": {}}, "target 'bought' is stated, but task is 'other'"),
        (
            prediction(scores="probabilities"),
            "scores is stated together with label or probabilities",
        ),
        (
            {"prediction": {"scores": "probabilities", "classes": [0, 1, 2]}},
            r"scores: output 'probabilities' is FP32 \[-1, 2\]; expected .* \[N, 3\]",
        ),
        ({"prediction": {"scores": "probabilities"}}, "classes is empty"),
        (prediction(activation="softmax"), "activation needs prediction.scores"),
        (
            {"monitoring": {"drift_methods": {"cost": "psi"}}},
            "drift_methods: not a feature: 'cost'",
        ),
        (
            {"monitoring": {"drift_methods": {"colour": "g_test"}}},
            "'colour' cannot be scored by 'g_test': it needs windows with the same number of rows",
        ),
        (
            {"monitoring": {"drift_methods": {"colour": "fisher_exact"}}},
            "cannot be scored by 'fisher_exact'.*expected one of 'TVD', 'chisquare'",
        ),
        (
            {"monitoring": {"drift_methods": {"price": "empirical_mmd"}}},
            "'price' cannot be scored by 'empirical_mmd': its value differs between calls",
        ),
        (
            {"monitoring": {"alarms": {"score": "roc-auc"}}},
            "score is 'roc-auc', which is not computed .* 'accuracy', .* 'roc_auc'",
        ),
        (
            {"monitoring": {"alarms": {"min_score": 0.7}}}
            | {"prediction": {"label": "label", "classes": [0, 1]}},
            "score is 'roc_auc' by default, which is not computed .* 'accuracy'",
        ),
        (
            {"monitoring": {"alarms": {"max_gap": {"selection_rate": 0.2}}}},
            "max_gap limits groups; expected monitoring.segments",
        ),
        (
            {"monitoring": {"alarms": {"min_segment_score": 0.6}}},
            "min_segment_score limits groups; expected monitoring.segments",
        ),
        (
            {"monitoring": {"segments": ["colour"], "alarms": {"min_segment_score": 0.6}}}
            | {"prediction": {"label": "label", "classes": [0, 1]}},
            "score is 'roc_auc' by default, which is not computed",
        ),
        (
            {"task": "regression", "prediction": {"label": "label"}}
            | {
                "monitoring": {
                    "segments": ["colour"],
                    "alarms": {"max_gap": {"true_positive_rate": 0.2}},
                }
            },
            "max_gap limits rates of the positive class; expected a classification of two classes",
        ),
        (prediction(label="answer"), "no output 'answer'; .* 'label', 'names', 'prob"),
        (prediction(probabilities="scores"), "no output 'scores'; expected one of 'label', 'na"),
        (prediction(label="probabilities"), r"shape \[-1, 2\]; expected \[N\] or \[N, 1\]"),
        (prediction(probabilities="label"), r"INT64 \[-1\]; expected a floating-point .* \[N, 2\]"),
        (prediction(classes=[]), "classes is empty: expected the classes in the order"),
        (prediction(classes=[0, 1, 2]), r"FP32 \[-1, 2\]; expected .* \[N, 3\]"),
        (prediction(classes=[0, 0]), "repeats a class"),
        (prediction(classes=[False, True]), "False is a bool, but output 'label' is INT64"),
        (prediction(classes=["no", "yes"]), "'no' is a str, but .* INT64; expected int or float"),
        (prediction(positive=2), r"positive is 2; expected one of classes \[0, 1\]"),
        ({"task": "regression"}, "expected only label for task: regression"),
        (
            {"task": "regression", "prediction": {"label": "names"}},
            "'names' is BYTES .*expected numbers",
        ),
        (
            {"signature": {"inputs": [], "outputs": []}},
            "'price' is absent in the manifest but FP32",
        ),
    ],
)
def test_a_manifest_that_contradicts_the_model_is_refused(
    path: Path, manifest: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    found = Signature(
        [*FOUND.inputs, TensorSpec("pair", "FP32", [-1, 2])],
        [*FOUND.outputs, TensorSpec("names", "BYTES", [-1])],
    )
    with pytest.raises(InvalidManifest, match=message):
        complete(read(path, manifest | changes), found)


def test_an_integer_input_cannot_be_nullable(path: Path, manifest: dict[str, Any]) -> None:
    found = Signature([TensorSpec("price", "INT64", [-1, 1]), FOUND.inputs[1]], FOUND.outputs)
    with pytest.raises(
        InvalidManifest, match=r"'price' is nullable but .* INT64.* nullable: false"
    ):
        complete(read(path, manifest), found)


def test_yaml_true_as_the_positive_class_means_class_one(
    path: Path, manifest: dict[str, Any]
) -> None:
    manifest["prediction"]["positive"] = True
    positive = complete(read(path, manifest), FOUND).prediction.positive
    assert positive == 1
    assert type(positive) is int
