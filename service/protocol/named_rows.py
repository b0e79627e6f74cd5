"""Convert rows of named features to tensors and back, for `POST /predict`. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from eventlog.events import Label, Tensor
from registry.features import signature, to_tensors
from registry.manifest import Manifest, Prediction
from service.errors import InvalidRequest
from service.protocol.messages import Array, InferRequest


class ArrayTensor(msgspec.Struct):
    """One input that is an array already."""

    name: str
    datatype: str
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions of the array."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    def array(self) -> Array:
        """Return the array."""
        return self.values

    @property
    def sent(self) -> None:
        """None: the values were sent by row."""


class NamedRowPrediction(msgspec.Struct, omit_defaults=True):
    """The prediction for one row."""

    label: Label | None
    probabilities: dict[str, float | str | None] = {}


def read_rows(
    rows: Sequence[Mapping[str, Any]], event_time: str | int | None, manifest: Manifest
) -> InferRequest:
    """Return the request of these rows; raises InvalidRequest or InvalidFeatures."""
    if not rows:
        raise InvalidRequest("rows is empty; expected at least one object of features")
    names = [feature.name for feature in manifest.features]
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
    labels = outputs[prediction.label].values()
    if not prediction.probabilities:
        return [NamedRowPrediction(label) for label in labels]
    classes = [str(name) for name in prediction.classes]
    scores = outputs[prediction.probabilities].values()
    return [
        NamedRowPrediction(
            label,
            dict(zip(classes, scores[row * len(classes) : (row + 1) * len(classes)], strict=True)),
        )
        for row, label in enumerate(labels)
    ]


def _check_names(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    known = set(names)
    for index, row in enumerate(rows):
        if row.keys() == known:
            continue
        for problem, found in (("missing", known - row.keys()), ("unknown", row.keys() - known)):
            if found:
                raise InvalidRequest(
                    f"row {index}: {problem} feature {', '.join(sorted(map(repr, found)))}; "
                    f"expected {', '.join(names)}"
                )
