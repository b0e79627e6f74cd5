"""Convert rows of named features to tensors and back, for `POST /predict`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventlog.events import Label, Tensor
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.manifest import Manifest, Prediction
from registry.outputs import LABELS, label_output, probabilities_output
from service.errors import InvalidRequest
from service.protocol.messages import Array, InferRequest


class ArrayTensor(msgspec.Struct):
    """An input with values in an array."""

    name: str
    datatype: str
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's dimensions."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    def array(self) -> Array:
        """Return the array."""
        return self.values

    @property
    def raw_json(self) -> None:
        """None, because the client has sent rows, not tensors."""


class NamedRowPrediction(msgspec.Struct, omit_defaults=True):
    """The prediction for one row."""

    label: Label | None
    probabilities: dict[str, float | str | None] = {}
    labels: list[Label] = []  # all predicted labels of a multi-label model
    outputs: dict[str, Any] = {}  # all outputs, if the manifest does not name a prediction


def read_rows(
    rows: Sequence[Mapping[str, Any]], event_time: str | int | None, manifest: Manifest
) -> InferRequest:
    """Return an inference request for rows; raises InvalidRequest or InvalidFeatures."""
    if not rows:
        raise InvalidRequest("rows is empty; expected at least one object of features")
    names = [feature.name for feature in manifest.features]
    with_features = {feature.input for feature in manifest.features}
    bare = [spec.name for spec in signature(manifest).inputs if spec.name not in with_features]
    if bare:
        raise InvalidRequest(
            f"input {', '.join(map(repr, bare))} of this model has no named features; send tensors "
            "to POST /v2/models/{model}/infer instead"
        )
    _check_names(rows, names)
    columns = {name: [row[name] for row in rows] for name in names}
    arrays = to_tensors(manifest, columns)
    tensors = [
        ArrayTensor(spec.name, spec.datatype, arrays[spec.name])
        for spec in signature(manifest).inputs
    ]
    parameters = {} if event_time is None else {"event_time": event_time}
    return InferRequest("", tensors, [], parameters)


def read_predictions(
    prediction: Prediction, outputs: Mapping[str, Tensor]
) -> list[NamedRowPrediction]:
    """Return one prediction per row, from the outputs that the manifest names."""
    name = label_output(prediction)
    if not name:
        return _rows_of(outputs)
    scores = probabilities_output(prediction)
    rows = [NamedRowPrediction(label) for label in outputs[name].values()]
    if scores:
        for row, by_class in zip(rows, _by_class(prediction, outputs[scores]), strict=True):
            row.probabilities = by_class
    if LABELS in outputs:
        for row, applies in zip(rows, _by_class(prediction, outputs[LABELS]), strict=True):
            row.labels = [class_ for class_ in prediction.classes if applies[str(class_)]]
    return rows


def _by_class(prediction: Prediction, tensor: Tensor) -> list[dict[str, Any]]:
    """Return a mapping from class to value for each row of a tensor [N, classes]."""
    classes = [str(name) for name in prediction.classes]
    values, count = tensor.values(), len(classes)
    return [
        dict(zip(classes, values[start : start + count], strict=True))
        for start in range(0, len(values), count)
    ]


def _rows_of(outputs: Mapping[str, Tensor]) -> list[NamedRowPrediction]:
    """Return the outputs by row; outputs whose first dimension is not the rows are omitted."""
    counts = [tensor.shape[0] for tensor in outputs.values() if tensor.shape]
    rows = counts[0] if counts else 0
    row_outputs: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name, tensor in outputs.items():
        values = tensor.values()
        if tensor.shape[:1] != [rows] or not rows:
            continue
        size = len(values) // rows
        for row, row_output in enumerate(row_outputs):
            part = values[row * size : (row + 1) * size]
            row_output[name] = part[0] if size == 1 else part
    return [NamedRowPrediction(None, outputs=row_output) for row_output in row_outputs]


def _check_names(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    expected = set(names)
    for index, row in enumerate(rows):
        if row.keys() == expected:
            continue
        for problem, faulty in (
            ("missing", expected - row.keys()),
            ("unknown", row.keys() - expected),
        ):
            if faulty:
                raise InvalidRequest(
                    f"row {index}: {problem} feature {', '.join(sorted(map(repr, faulty)))}; "
                    f"expected {', '.join(names)}"
                )
