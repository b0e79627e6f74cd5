"""Validate, score and load the reference of a version: held-out rows with the model's predictions.

A reference that does not fit the model is refused.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnxruntime
import pyarrow.parquet as pq

from eventlog.events import Label, Tensor
from registry.batch_runner import run_in_batches
from registry.errors import InvalidFeatures, InvalidModel, InvalidReference
from registry.feature_tensors import to_columns, to_tensors
from registry.features import signature
from registry.manifest import Feature, Manifest, Signature, TensorSpec, Version
from registry.own_columns import OwnColumns
from registry.reference_arrays import stacked
from registry.reference_path import REFERENCE, has_reference, reference_path
from registry.reference_summaries import summarize_rows
from registry.reference_times import read_times
from registry.rows import batch_dimension
from registry.sampled_tensors import vector_column, vectors_of
from registry.scores import labels as derive_labels
from registry.scores import probabilities
from registry.stored_files import require_unchanged

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
_IMPLAUSIBLE = 0.995  # scores above this suggest training rows or a leaked target
_ROUNDING = 1e-6  # tolerance of a probability
_ROWS_OF_IDENTIFIER = 100  # with fewer rows, all values can differ by chance
_DISTINCT = 0.9  # least share of distinct values in an identifier
_MONOTONE = 0.99  # least share of differences with the same sign in a numeric identifier
_SAMPLE = 256  # rows for the test of row independence


def load_reference(version: Version) -> "pd.DataFrame":
    """Load the stored reference: features, target, prediction, and a probability for each class.

    Features have the same form as in model inputs and events. Numeric columns contain numbers and
    NaN. Categorical columns (dtype object) contain strings, integers, booleans and None.
    Raises InvalidReference if the version has no reference, ChangedFile if its bytes changed.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import, and workers do not need it

    if not has_reference(version):
        raise InvalidReference(
            f"version {version.number} of {version.model} was registered without a reference"
        )
    require_unchanged(version, REFERENCE)
    frame = pd.read_parquet(reference_path(version))
    for feature in version.manifest.features:
        if feature.kind == "categorical":
            frame[feature.name] = _categories(frame[feature.name])
    return frame


def first_rows(version: Version, rows: int) -> dict[str, list[Any]]:
    """Return the features of the first rows of the stored reference, missing values as None.

    Read only these rows, without pandas, so that the cost does not depend on the reference's size.
    """
    names = [feature.name for feature in version.manifest.features]
    with pq.ParquetFile(reference_path(version)) as file:
        batch = next(file.iter_batches(rows, columns=names))
    return {name: batch.column(name).to_pylist() for name in names}


def answer_reference(
    session: onnxruntime.InferenceSession,
    manifest: Manifest,
    frame: "pd.DataFrame",
    *,
    together: bool = True,
) -> "tuple[Manifest, pd.DataFrame]":
    """Run the model on every reference row, in batches of the manifest's max_batch_size.

    If `together` is False, each row runs separately, because batches would change the outputs. The
    result has columns for target and prediction only if the manifest states them.

    Return the manifest, completed with classes, and the reference to store. Raises
    InvalidReference if rows do not fit the model, InvalidModel if outputs do not fit the manifest.
    """
    import pandas as pd  # noqa: PLC0415  # slow to import, and workers do not need it

    _require_columns(manifest, frame)
    tensors = _tensors(manifest, frame)
    ran = run_in_batches(session, manifest, tensors, len(frame), together=together)
    stored = pd.DataFrame(_columns(manifest, tensors), index=range(len(frame)))
    if manifest.summaries:
        summarized = summarize_rows(session, manifest, tensors, len(frame), together=together)
        _add(stored, summarized)
    if manifest.event_time:
        stored[OwnColumns(manifest).time] = read_times(frame[manifest.event_time])
    for name in manifest.monitoring.embedding_drift:
        vectors = _vectors(tensors[name] if name in tensors else ran[name])
        stored[vector_column(name)] = pd.Series(vectors, stored.index, dtype=object)
    if manifest.task == "other":
        return manifest, stored
    outputs = _with_derived(manifest, ran)
    answers = outputs[manifest.prediction.label].reshape(len(frame)).tolist()
    if manifest.task == "regression":
        if manifest.target:
            stored[manifest.target] = _numeric_target(frame[manifest.target])
        stored[OwnColumns(manifest).prediction] = _numeric_answers(manifest, answers)
        return manifest, stored
    truth = values_of(frame[manifest.target]) if manifest.target else []
    manifest = _with_classes(manifest, {*answers, *truth})
    if manifest.target:
        stored[manifest.target] = _as_classes(manifest, truth, "target")
    stored[OwnColumns(manifest).prediction] = _as_classes(manifest, answers, "answer")
    if manifest.prediction.probabilities:
        _add(stored, _probabilities(manifest, outputs, answers))
    elif manifest.prediction.activation != "none":
        _add(stored, _by_column(manifest, outputs[_DERIVED]))
    return manifest, stored


def _add(frame: "pd.DataFrame", columns: Mapping[str, Array]) -> None:
    """Add columns of any name; `DataFrame.assign` does not accept a column named `self`."""
    for name, values in columns.items():
        frame[name] = values


def _vectors(array: Array) -> list[Any]:
    """Return as many first vectors of an array [N, d] as a comparison needs, followed by None."""
    count = vectors_of(array.shape[1])
    return [*array[:count].astype(np.float32).tolist(), *[None] * (len(array) - count)]


_DERIVED = "\0probabilities"  # no output has this name


def _with_derived(manifest: Manifest, outputs: Mapping[str, Array]) -> Mapping[str, Array]:
    """Add labels and any probabilities to the outputs of a model that returns raw scores."""
    prediction = manifest.prediction
    if not prediction.scores:
        return outputs
    scores = outputs[prediction.scores]
    if scores.shape[1:] != (len(prediction.classes),):
        raise InvalidModel(
            f"output {prediction.scores!r} has shape {list(scores.shape)}; "
            f"expected [N, {len(prediction.classes)}], one column for each class"
        )
    derived = {prediction.label: np.array(derive_labels(prediction, scores), dtype=object)}
    probable = probabilities(prediction, scores)
    return {**outputs, **derived} | ({} if probable is None else {_DERIVED: probable})


def sample_tensors(manifest: Manifest, frame: "pd.DataFrame") -> dict[str, Array]:
    """Return the model's inputs for at most 256 rows, spread evenly over the reference.

    Raises InvalidReference if rows do not fit the model.
    """
    _require_columns(manifest, frame)
    tensors = _tensors(manifest, frame)
    places = np.unique(np.linspace(0, len(frame) - 1, _SAMPLE).round().astype(int))
    return {name: array[places] for name, array in tensors.items()}


def doubts(manifest: Manifest, reference: "pd.DataFrame") -> list[str]:
    """Return warnings about a reference that looks like training data or limits monitoring."""
    warnings = [
        *_doubts_of_methods(manifest, reference),
        *_doubts_of_identifiers(manifest, reference),
    ]
    return [*warnings, *_doubts_of_answers(manifest, reference)] if manifest.target else warnings


def _doubts_of_identifiers(manifest: Manifest, reference: "pd.DataFrame") -> list[str]:
    """Return warnings about features that look like identifiers, whose drift is meaningless."""
    return [
        f"feature {feature.name!r} looks like an identifier: {reference[feature.name].nunique():,} "
        f"different values in {len(reference):,} reference rows; state monitor: false for it, "
        "to exclude it from drift"
        for feature in manifest.features
        if feature.monitor
        and feature.name in reference
        and _looks_like_identifier(feature, reference[feature.name].dropna())
    ]


def _looks_like_identifier(feature: Feature, values: "pd.Series") -> bool:
    """Return whether values are mostly distinct, and are categories or monotone whole numbers."""
    if len(values) < _ROWS_OF_IDENTIFIER or values.nunique() < _DISTINCT * len(values):
        return False
    if feature.kind == "categorical":
        return True
    numbers = values.to_numpy(dtype=np.float64)
    if not np.array_equal(numbers, np.round(numbers)):
        return False
    rising = float(np.mean(np.diff(numbers) > 0))
    return max(rising, 1 - rising) >= _MONOTONE


def _doubts_of_methods(manifest: Manifest, reference: "pd.DataFrame") -> list[str]:
    """Return warnings about drift methods that compare only a part of a column."""
    counts = {
        name: reference[name].nunique()
        for name, method in manifest.monitoring.drift_methods.items()
        if method == "z"
    }
    return [
        f"drift_methods: z compares one value of {name!r} with all others, but the reference has "
        f"{count} values: drift among the others is not detected; chisquare compares all values"
        for name, count in counts.items()
        if count > 2
    ]


def _doubts_of_answers(manifest: Manifest, reference: "pd.DataFrame") -> list[str]:
    own = OwnColumns(manifest)
    truth, answer = reference[manifest.target], reference[own.prediction]
    if manifest.task == "regression":
        spread = float(((truth - truth.mean()) ** 2).sum())
        name, value = "R2", 1 - float(((truth - answer) ** 2).sum()) / (spread or 1.0)
    elif truth.nunique() < 2:
        return [f"the reference's target has only one class: {truth.tolist()[0]!r}"]
    elif manifest.prediction.positive is not None and manifest.prediction.probabilities:
        positive = manifest.prediction.positive
        score = reference[own.probability(positive)]
        name, value = "ROC AUC", _roc_auc(truth == positive, score)
    else:
        name, value = "accuracy", float((truth == answer).mean())
    if value <= _IMPLAUSIBLE:
        return []
    doubt = (
        f"{name} on the reference is {value:.4f}, which is implausibly good: was the model trained "
        "on these rows, or is the target among the features?"
    )
    return [doubt]


def _require_columns(manifest: Manifest, frame: "pd.DataFrame") -> None:
    needed = [feature.name for feature in manifest.features]
    needed += [spec.name for spec in bare_inputs(manifest)]
    needed += [name for name in (manifest.target, manifest.event_time) if name]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise InvalidReference(
            f"the reference has no column {', '.join(map(repr, missing))}; "
            f"it has {', '.join(map(repr, frame.columns))}"
        )
    if not frame.columns.is_unique:
        raise InvalidReference("the reference has several columns of the same name")
    if frame.empty:
        raise InvalidReference("the reference has no rows; expected at least some hundreds")
    if not manifest.target:
        return
    empty = frame[manifest.target].isna()
    if empty.any():
        raise InvalidReference(
            f"the reference has {int(empty.sum())} rows without a target, the first is row "
            f"{int(empty.to_numpy().argmax())}; expected {manifest.target!r} in every row"
        )


def _tensors(manifest: Manifest, frame: "pd.DataFrame") -> dict[str, Array]:
    bare, whole = bare_inputs(manifest), batch_dimension(signature(manifest)) is None
    tensors = {spec.name: stacked(spec, frame[spec.name], whole=whole) for spec in bare}
    if not manifest.features:
        return tensors
    columns = {f.name: _plain(frame[f.name]) for f in manifest.features}
    try:
        return tensors | to_tensors(_without(manifest, bare), columns)
    except InvalidFeatures as error:
        raise InvalidReference(f"reference {error}") from None


def bare_inputs(manifest: Manifest) -> list[TensorSpec]:
    """Return the inputs without features; a reference contains only their summaries."""
    carried = {feature.input for feature in manifest.features}
    return [spec for spec in signature(manifest).inputs if spec.name not in carried]


def _without(manifest: Manifest, bare: Sequence[TensorSpec]) -> Manifest:
    model_signature = signature(manifest)
    inputs = [spec for spec in model_signature.inputs if spec not in bare]
    return msgspec.structs.replace(manifest, signature=Signature(inputs, model_signature.outputs))


def _plain(column: "pd.Series") -> list[Any] | Array:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy()
    plain = column.astype(object)
    return plain.where(plain.notna(), None).tolist()


def values_of(column: "pd.Series") -> list[Any]:
    """Return the values of a column as Python objects, missing values as None."""
    values = _plain(column)
    return values if isinstance(values, list) else values.tolist()


def _columns(manifest: Manifest, tensors: Mapping[str, Array]) -> dict[str, Any]:
    import pandas as pd  # noqa: PLC0415  # slow to import, and workers do not need it

    datatypes = {spec.name: spec.datatype for spec in signature(manifest).inputs}
    bare = {spec.name for spec in bare_inputs(manifest)}
    carried = {
        name: Tensor(datatypes[name], list(array.shape), array.ravel().tolist())
        for name, array in tensors.items()
        if name not in bare
    }
    categorical = {f.name for f in manifest.features if f.kind == "categorical"}
    return {
        name: pd.Series(values, dtype=object) if name in categorical else values
        for name, values in to_columns(manifest, carried).items()
    }


def _numeric_target(column: "pd.Series") -> Array:
    try:
        return column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidReference(
            f"target {column.name!r} contains {column.dtype}; expected numbers for task: regression"
        ) from None


def _numeric_answers(manifest: Manifest, answers: Sequence[Any]) -> Array:
    numbers = np.asarray(answers, dtype=np.float64)
    faulty = ~np.isfinite(numbers)
    if faulty.any():
        row = int(faulty.argmax())
        raise InvalidModel(
            f"output {manifest.prediction.label!r} is {numbers[row]} for reference row {row}; "
            "expected finite numbers"
        )
    return numbers


def _with_classes(manifest: Manifest, labels: set[Any]) -> Manifest:
    if manifest.prediction.classes:
        return manifest
    if len({isinstance(value, str) for value in labels}) > 1:
        raise InvalidReference(
            f"target {manifest.target!r} and the model's labels are of different types: "
            f"{sorted(map(repr, labels))[:10]}"
        )
    prediction = msgspec.structs.replace(manifest.prediction, classes=sorted(labels))
    return msgspec.structs.replace(manifest, prediction=prediction)


def _as_classes(manifest: Manifest, values: Sequence[Any], what: str) -> list[Label]:
    classes = {value: value for value in manifest.prediction.classes}
    for row, value in enumerate(values):
        if value not in classes or isinstance(value, str) != isinstance(classes[value], str):
            raise InvalidReference(
                f"reference row {row}: {what} {value!r} is not in prediction.classes "
                f"{manifest.prediction.classes}"
            )
    return [classes[value] for value in values]


def _probabilities(
    manifest: Manifest, outputs: Mapping[str, Array], answers: Sequence[Label]
) -> dict[str, Array]:
    prediction = manifest.prediction
    array = outputs[prediction.probabilities].astype(np.float64)
    if array.shape[1:] != (len(prediction.classes),):
        raise InvalidModel(
            f"output {prediction.probabilities!r} has shape {list(array.shape)}; "
            f"expected [N, {len(prediction.classes)}], one column for each class"
        )
    # Sums of float32 in forests can be slightly below 0 or above 1.
    probable = (array >= -_ROUNDING) & (array <= 1 + _ROUNDING)
    if not probable.all() or (abs(array.sum(axis=1) - 1) > 1e-3).any():
        raise InvalidModel(
            f"output {prediction.probabilities!r} has values that are not probabilities; "
            "expected numbers from 0 to 1 that sum to 1 in each row"
        )
    _require_class_order(manifest, array, np.asarray(answers, dtype=object))
    return _by_column(manifest, array)


def _by_column(manifest: Manifest, array: Array) -> dict[str, Array]:
    own, classes = OwnColumns(manifest), manifest.prediction.classes
    return {own.probability(c): array[:, i] for i, c in enumerate(classes)}


def _require_class_order(manifest: Manifest, probabilities: Array, answers: Array) -> None:
    """Raise InvalidModel if the probabilities' columns are not in the order of the classes.

    Each class must have a higher mean probability on rows predicted as this class than on others.
    """
    for index, label in enumerate(manifest.prediction.classes):
        chosen = answers == label
        if chosen.all() or not chosen.any():
            continue
        column = probabilities[:, index]
        if column[chosen].mean() < column[~chosen].mean():
            raise InvalidModel(
                f"rows predicted as {label!r} have a lower mean in probability column {index} than "
                f"other rows: prediction.classes {manifest.prediction.classes} is not the order of "
                f"the columns of output {manifest.prediction.probabilities!r}"
            )


def _roc_auc(truth: "pd.Series", score: "pd.Series") -> float:
    positives = int(truth.sum())
    ranks = float(score.rank()[truth].sum())
    pairs = positives * (len(truth) - positives)
    return (ranks - positives * (positives + 1) / 2) / pairs if pairs else 0.5


def _categories(column: "pd.Series") -> "pd.Series":
    import pandas as pd  # noqa: PLC0415  # slow to import, and workers do not need it

    values = [whole(value) for value in values_of(column)]
    return pd.Series(values, index=column.index, dtype=object)


def whole(value: Any) -> Any:
    """Return a category as an integer if it was stored as a whole float."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
