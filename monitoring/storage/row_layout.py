"""The layout of a row's values in events and in storage."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import msgspec

from eventlog.events import INFINITIES, PredictionEvent, spell
from registry.feature_tensors import category, to_columns
from registry.features import monitored_columns, signature, width
from registry.manifest import Feature, Manifest
from registry.outputs import label_output, probabilities_output
from registry.own_columns import OwnColumns
from registry.payload import keeping

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode
_NUMBERS = frozenset({int, float, bool, type(None)})
_LABELS = frozenset({int, float, bool, str})
_ONE_ROW: tuple[list[int], ...] = ([], [1])  # first dimensions of a tensor with one row


def columns(manifest: Manifest) -> list[str]:
    """Return the names of a stored row's values, in the stored order."""
    classes = manifest.prediction.classes if probabilities_output(manifest.prediction) else []
    monitored = [feature.name for feature in monitored_columns(manifest)]
    own = OwnColumns(manifest)
    answer = [own.prediction] if label_output(manifest.prediction) else []
    return [*monitored, *answer, *(own.probability(name) for name in classes)]


class PredictedRow(msgspec.Struct, gc=False):
    """The values of a predicted row; only its summaries if its payload was not logged."""

    values: Sequence[Any]  # in the order of `columns`; if `partial`, of the manifest's summaries
    predicted: bytes | None  # encoded prediction; None if it was not logged
    partial: bool = False  # whether the values are only the summaries


class RowLayout:
    """The layout of a row's values in the events of one version."""

    def __init__(self, manifest: Manifest) -> None:
        """Derive the layout from the manifest once, not for every event."""
        specs = {spec.name: spec for spec in signature(manifest).inputs}
        self._manifest = manifest
        self._plain = not manifest.payload.fields  # whether all features are logged unchanged
        self._input_count = len(specs)
        self._label = label_output(manifest.prediction)
        classes = manifest.prediction.classes
        self._probabilities = probabilities_output(manifest.prediction) if classes else ""
        self._widths = {f.input: width(specs[f.input]) for f in manifest.features}
        self._summaries = [summary.name for summary in manifest.summaries or []]
        self._prediction_index = len(manifest.features) + len(self._summaries)
        self._is_summary_only = len(columns(manifest)) == len(self._summaries)
        self._slices = list(_slices(manifest.features))
        self._label_types = _NUMBERS if manifest.task == "regression" else _LABELS
        self._numbers = [n for n, f in enumerate(manifest.features) if f.kind == "numeric"]
        self._all_numbers = len(self._numbers) == len(manifest.features)
        self._categories = [(n, f) for n, f in enumerate(manifest.features) if f.kind != "numeric"]

    def prediction(self, row: Sequence[Any]) -> bytes | None:
        """Return the encoded prediction of a row; None if the model has no label output."""
        return encode(row[self._prediction_index]) if self._label else None

    def rows(self, event: PredictionEvent) -> list[Sequence[Any]]:
        """Return the values of every predicted row, in the order of `columns`.

        Raises InvalidFeatures if the inputs lack features, KeyError if an output is missing, and
        ValueError if outputs or summaries do not fit the rows.
        """
        if self._plain and event.rows == 1 and (row := self._only_row(event)) is not None:
            return [row]
        return list(_values(self._manifest, event))

    def encode(self, row: PredictedRow) -> bytes:
        """Return the stored form of the values: a list, or an object of summaries by name."""
        if row.partial:
            return encode(dict(zip(self._summaries, row.values, strict=True)))
        return encode(row.values)

    def rows_without_payload(self, event: PredictionEvent) -> Sequence[PredictedRow | None]:
        """Return the summaries of each predicted row of an event without a payload.

        Rows are None if the version has no summaries, or if they were withheld with the payload.
        Raises ValueError if the summaries do not fit the rows.
        """
        if not self._summaries or not event.summaries:
            return [None] * event.rows
        rows = zip(*_summaries(self._manifest, event), strict=True)
        return [PredictedRow(row, None, partial=not self._is_summary_only) for row in rows]

    def has_extra_inputs(self, event: PredictionEvent) -> bool:
        """Return whether an event contains more inputs than the version's signature."""
        return len(event.inputs) > self._input_count

    def _only_row(self, event: PredictionEvent) -> list[Any] | None:
        """Return the values of a one-row event quickly; None if only `_values` can read them."""
        inputs = event.inputs
        for name, size in self._widths.items():
            tensor = inputs.get(name)
            if tensor is None or len(tensor.data) != size or tensor.shape[:1] not in _ONE_ROW:
                return None
        row: list[Any] = []
        for name, begin, end in self._slices:
            row += inputs[name].data[begin:end]
        numbers = row if self._all_numbers else [row[place] for place in self._numbers]
        if not _NUMBERS.issuperset(map(type, numbers)):
            return None
        for place, feature in self._categories:
            row[place] = category(feature, row[place])
        if self._summaries:
            row += (column[0] for column in _summaries(self._manifest, event))
        return self._with_prediction(row, event)

    def _with_prediction(self, row: list[Any], event: PredictionEvent) -> list[Any] | None:
        """Append prediction and probabilities; return None if only `_values` can read them."""
        if self._label:
            label = event.outputs[self._label].data
            if len(label) != 1 or type(label[0]) not in self._label_types:
                return None
            row += label
        if self._probabilities:
            probabilities = event.outputs[self._probabilities].data
            if len(probabilities) != len(self._manifest.prediction.classes):
                return None
            if not _NUMBERS.issuperset(map(type, probabilities)):
                return None
            row += probabilities
        return row


def _slices(features: Sequence[Feature]) -> Iterator[tuple[str, int, int]]:
    """Yield the slices of inputs that hold the features in order: input, first index, end."""
    place = 0
    while place < len(features):
        first = features[place]
        end = first.index
        while place < len(features) and (features[place].input, features[place].index) == (
            first.input,
            end,
        ):
            place, end = place + 1, end + 1
        yield first.input, first.index, end


def _values(manifest: Manifest, event: PredictionEvent) -> list[tuple[Any, ...]]:
    """Return a tuple of values per predicted row, for any valid event."""
    feature_inputs = {feature.input for feature in manifest.features}
    inputs = {name: tensor for name, tensor in event.inputs.items() if name in feature_inputs}
    inputs_by_name = to_columns(keeping(manifest), inputs)
    features = [
        _spelled(inputs_by_name.get(f.name)) or [None] * event.rows for f in manifest.features
    ]
    features += _summaries(manifest, event)
    columns_out: list[Sequence[Any]] = [*features]
    if label := label_output(manifest.prediction):
        labels = event.outputs[label].values()
        if len(labels) != event.rows:
            raise ValueError(f"expected {event.rows} answers, got {len(labels)}")
        _check(labels, label, numbers=manifest.task == "regression")
        columns_out.append(labels)
    if probabilities := probabilities_output(manifest.prediction):
        flat = event.outputs[probabilities].values()
        _check(flat, probabilities, numbers=True)
        width = len(manifest.prediction.classes)
        columns_out += (flat[place::width] for place in range(width))
    return list(zip(*columns_out, strict=True)) or [()] * event.rows


def _summaries(manifest: Manifest, event: PredictionEvent) -> list[list[Any]]:
    """Return the values of each summary, one per row; all None if the event lacks the summary."""
    lists: list[list[Any]] = []
    for summary in manifest.summaries or []:
        values = event.summaries.get(summary.name)
        if values is not None and len(values) != event.rows:
            raise ValueError(
                f"summary {summary.name!r}: expected {event.rows} values, got {len(values)}"
            )
        lists.append([None] * event.rows if values is None else values)
    return lists


def _check(values: Sequence[Any], output: str, *, numbers: bool) -> None:
    """Raise ValueError if a predicted value has a type that no model returns."""
    types = _NUMBERS if numbers else _NUMBERS | _LABELS
    for value in values:
        is_infinity = isinstance(value, str) and value in INFINITIES
        if type(value) not in types and not is_infinity:
            expected = "a number" if numbers else "a class"
            raise ValueError(f"output {output!r}: expected {expected}, got {value!r:.80}")


def _spelled(column: list[Any] | None) -> list[Any] | None:
    """Spell infinities as words, as the log does, because JSON has no infinities."""
    return spell(column) if column and (inf in column or -inf in column) else column
