"""Infer missing fields of a manifest from the signature, the reference and the model's outputs.

Nothing is guessed silently. Each inferred field has a reason, and each ambiguity becomes a question
that states how to resolve it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from eventlog.events import Label
from registry.errors import InvalidReference
from registry.inference_record import Inference
from registry.manifest import Feature, Kind, Manifest, Prediction, Signature, Task, TensorSpec
from registry.rows import FREE, batch_dimension

_CODES = 20  # most distinct integers of a column that count as codes
_MOST_COLUMNS = 100  # most unnamed columns that become features; a wider input is a vector
_TEXT_WORDS = 3.0  # least average number of words of values that count as text
_LABEL_NAMES = ("label", "class")
_NUMBER_NAMES = {"variable"}  # skl2onnx's name for the output of a regressor
_FLOATS = {"FP16", "FP32", "FP64"}
Array = np.ndarray[Any, Any]


class Hints(msgspec.Struct, frozen=True):
    """Names in an ONNX file in addition to its signature."""

    columns: list[str] = []  # columns of the only input, in order
    classes: list[Label] = []  # classes in the order of the probabilities' columns


def infer_features(
    model_signature: Signature,
    frame: pd.DataFrame | None,
    target: str,
    hints: Hints,
    into: Inference,
) -> list[Feature]:
    """Infer the features of every input that consists of columns; other inputs have no features.

    Raises InvalidReference if the columns of an input are ambiguous.
    """
    if batch_dimension(model_signature) is None:
        return []
    if frame is None:
        return _features_by_name(model_signature, hints, into)
    tables = [spec for spec in model_signature.inputs if _takes_columns(spec, frame)]
    names = {spec.name for spec in model_signature.inputs if spec not in tables}
    others = [str(name) for name in frame.columns if name != target and name not in names]
    features: list[Feature] = []
    for spec in model_signature.inputs:
        if spec in tables:
            columns = _columns_of(spec, frame, others, hints, alone=len(tables) == 1)
            features += _features(spec, columns, frame, into)
        elif spec.name in frame.columns and _is_single(spec):
            features += _features(spec, [spec.name], frame, into)
    if features:
        into.reasons["features"] = "by the columns of the reference"
    return features


def _is_single(spec: TensorSpec) -> bool:
    return len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1)


def _takes_columns(spec: TensorSpec, frame: pd.DataFrame) -> bool:
    """Return whether an input consists of several columns, instead of the column of its name."""
    if len(spec.shape) not in {1, 2}:
        return False
    if spec.name not in frame.columns:
        return True
    return not _is_single(spec) and not isinstance(frame[spec.name].iloc[0], np.ndarray)


def _columns_of(
    spec: TensorSpec, frame: pd.DataFrame, others: Sequence[str], hints: Hints, *, alone: bool
) -> list[str]:
    if hints.columns and set(hints.columns) <= set(frame.columns) and alone:
        return hints.columns
    size = 1 if len(spec.shape) == 1 else spec.shape[1]
    if (alone and len(others) == size) or (alone and size == FREE and others):
        return list(others)
    columns = ", ".join(map(repr, others[:10])) or "none"
    raise InvalidReference(
        f"input {spec.name!r} has {'any number of' if size == FREE else size} columns, but the "
        f"reference has {len(others)} possible columns: {columns}; state features in a manifest "
        "(driftline manifest prints one), or remove the other columns from the reference"
    )


def _features_by_name(model_signature: Signature, hints: Hints, into: Inference) -> list[Feature]:
    """Return the features of inputs, from their names and datatypes, without a reference."""
    features: list[Feature] = []
    for spec in model_signature.inputs:
        if not _is_single(spec) and not _is_small_table(spec):
            continue
        if spec.datatype == "BYTES" and len(model_signature.inputs) == 1:
            into.questions.append(
                f"input {spec.name!r} has strings: texts or categories? It is monitored as text; "
                f"for categories, state features: [{{name: {spec.name}, kind: categorical, "
                "nullable: true}] in the manifest"
            )
            continue
        count = 1 if _is_single(spec) else spec.shape[1]
        hinted_names = (
            hints.columns
            if len(hints.columns) == count and len(model_signature.inputs) == 1
            else []
        )
        names = hinted_names or (
            [spec.name] if count == 1 else [f"{spec.name}_{i}" for i in range(count)]
        )
        kind: Kind = "categorical" if spec.datatype in {"BYTES", "BOOL"} else "numeric"
        missing = spec.datatype in _FLOATS | {"BYTES"}
        features += [
            Feature(name, kind, nullable=missing, input=spec.name, index=index)
            for index, name in enumerate(names)
        ]
        if kind == "numeric" and spec.datatype not in _FLOATS:
            into.questions.append(
                f"input {spec.name!r} has integers: amounts or codes? It is monitored as "
                "numeric; for codes, state kind: categorical in the manifest; with --reference "
                "FILE, the values decide"
            )
    if features:
        into.reasons["features"] = "by the names of the inputs, because there is no reference"
    return features


def _is_small_table(spec: TensorSpec) -> bool:
    return (
        len(spec.shape) == 2 and 1 < spec.shape[1] <= _MOST_COLUMNS and (spec.datatype in _FLOATS)
    )


def _features(
    spec: TensorSpec, columns: Sequence[str], frame: pd.DataFrame, into: Inference
) -> list[Feature]:
    if spec.datatype == "BYTES" and len(columns) == 1 and _is_text(frame[columns[0]]):
        into.questions.append(
            f"column {columns[0]!r} is monitored as text; for categories, state it under features "
            f"with kind: categorical in the manifest"
        )
        return []
    return [
        Feature(
            name,
            _kind(spec, frame[name], into),
            nullable=bool(frame[name].isna().any()) and spec.datatype in _FLOATS | {"BYTES"},
            input=spec.name,
            index=index,
        )
        for index, name in enumerate(columns)
    ]


def _is_text(column: pd.Series) -> bool:
    values = [str(value) for value in column.dropna()]
    words = sum(len(value.split()) for value in values)
    return len(set(values)) > _CODES and words >= _TEXT_WORDS * len(values)


def _kind(spec: TensorSpec, column: pd.Series, into: Inference) -> Kind:
    if spec.datatype in {"BYTES", "BOOL"} or column.dtype.kind == "b":
        return "categorical"
    if pd.api.types.is_integer_dtype(column.dtype) and column.nunique() <= _CODES:
        into.questions.append(
            f"column {column.name!r} has {column.nunique()} different integers: codes or amounts? "
            "It is monitored as categorical; for amounts, state kind: numeric in the manifest"
        )
        return "categorical"
    return "numeric"


def infer_prediction(
    model_signature: Signature,
    answers: Mapping[str, Array],
    labels: Sequence[Any],
    hints: Hints,
    into: Inference,
) -> tuple[Task, Prediction]:
    """Infer the task and the outputs that contain the prediction.

    `answers` are the outputs for some rows, or empty if the model failed. `labels` are the values
    of the target, or empty without a target.
    """
    label = next((spec for spec in model_signature.outputs if _is_label(spec)), None)
    probable = [spec for spec in model_signature.outputs if _is_probability(spec, answers)]
    numbers = [s for s in model_signature.outputs if s.datatype in _FLOATS and _is_single(s)]
    if label is not None and probable:
        classes = _classes(label, probable[0], answers, labels, hints, into)
        into.reasons["prediction"] = "by names, shapes and values of the outputs"
        return "classification", Prediction(
            label=label.name, probabilities=probable[0].name if classes else "", classes=classes
        )
    if label is not None and (labels or _contains_any(label.name, _LABEL_NAMES)):
        into.reasons["prediction"] = f"output {label.name!r} is a class"
        return "classification", Prediction(label=label.name, classes=hints.classes)
    if numbers and _is_regression(numbers[0], labels):
        into.reasons["prediction"] = f"output {numbers[0].name!r} is one number"
        return "regression", Prediction(label=numbers[0].name)
    _ask_for_prediction(model_signature, answers, into)
    return "other", Prediction()


def _contains_any(name: str, parts: Sequence[str]) -> bool:
    return any(part in name.lower() for part in parts)


def _is_label(spec: TensorSpec) -> bool:
    return spec.datatype not in _FLOATS and _is_single(spec)


def _is_probability(spec: TensorSpec, answers: Mapping[str, Array]) -> bool:
    if spec.datatype not in _FLOATS or len(spec.shape) != 2 or spec.shape[1] in {0, 1}:
        return False
    values = answers.get(spec.name)
    if values is None or not len(values):
        return _contains_any(spec.name, ("prob",))
    return _is_distribution(values)


def _is_distribution(values: Array) -> bool:
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        return False
    within = bool((values >= -1e-6).all() and (values <= 1 + 1e-6).all())
    return within and bool((abs(values.sum(axis=1) - 1) < 1e-3).all())


def _is_regression(spec: TensorSpec, labels: Sequence[Any]) -> bool:
    if not labels:
        return spec.name in _NUMBER_NAMES
    numeric = all(
        isinstance(label, int | float) and not isinstance(label, bool) for label in labels
    )
    return numeric and len(set(labels)) > 2


def _classes(  # noqa: PLR0913, PLR0917  # each contributes evidence
    label: TensorSpec,
    probable: TensorSpec,
    answers: Mapping[str, Array],
    labels: Sequence[Any],
    hints: Hints,
    into: Inference,
) -> list[Label]:
    values = answers.get(probable.name)
    count = probable.shape[1] if values is None else values.shape[1]
    if len(hints.classes) == count:
        return hints.classes
    answered = answers.get(label.name)
    distinct_labels = {*labels, *(answered.ravel().tolist() if answered is not None else ())}
    if (
        len(distinct_labels) == count
        and len({isinstance(value, str) for value in distinct_labels}) == 1
    ):
        return sorted(distinct_labels)
    if count > 0 and label.datatype.startswith(("INT", "UINT")):
        into.questions.append(
            f"are the classes of output {probable.name!r} 0 to {count - 1}? This is assumed; for "
            "other classes, state prediction.classes in the manifest"
        )
        return list(range(count))
    into.questions.append(
        f"which classes are the {count} columns of output {probable.name!r}? State "
        "prediction.classes in the manifest; otherwise, probabilities are not monitored"
    )
    return []


def _ask_for_prediction(
    model_signature: Signature, answers: Mapping[str, Array], into: Inference
) -> None:
    into.reasons["task"] = "no output is recognised as a prediction"
    for spec in model_signature.outputs:
        if spec.datatype not in _FLOATS or len(spec.shape) not in {1, 2}:
            continue
        if _is_single(spec):
            settled = f"task: regression and prediction: {{label: {spec.name}}}"
        else:
            values = answers.get(spec.name)
            sums = values is not None and _is_distribution(values)
            activation = "none" if sums else "softmax"
            settled = (
                f"task: classification and prediction: {{scores: {spec.name}, "
                f"activation: {activation}, classes: [...]}}"
            )
        into.questions.append(
            f"is output {spec.name!r} the prediction? Then state {settled} in the manifest; "
            "otherwise, it is monitored through summaries"
        )
        return


def held_out_question(manifest: Manifest) -> str:
    """Return the question whether the reference is held out, or "" if it need not be asked."""
    if manifest.held_out is not None or not manifest.target:
        return ""
    return (
        "was the model trained on the rows of the reference? If not, state --held-out or "
        "held_out: true; with training rows, estimates of performance are too high"
    )
