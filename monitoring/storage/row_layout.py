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
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_ONE: tuple[list[int], ...] = ([], [1])  # how the shape of a tensor of one row begins


def columns(manifest: Manifest) -> list[str]:
    """Return the names of a stored row's values, in their order."""
    classes = manifest.prediction.classes if probabilities_output(manifest.prediction) else []
    monitored = [feature.name for feature in monitored_columns(manifest)]
    own = OwnColumns(manifest)
    answer = [own.prediction] if label_output(manifest.prediction) else []
    return [*monitored, *answer, *(own.probability(name) for name in classes)]


class PredictedRow(msgspec.Struct, gc=False):
    """One answered row with values: all of them, or its summaries if its payload was not stored."""

    values: Sequence[Any]  # values in the order of `columns`
    predicted: bytes | None  # the prediction, encoded
    partial: bool = False  # the values are the summaries alone


class RowLayout:
    """The layout of a row's values in the events of one version."""

    def __init__(self, manifest: Manifest) -> None:
        """Look through the manifest once, and not with every event."""
        specs = {spec.name: spec for spec in signature(manifest).inputs}
        self._manifest = manifest
        self._plain = not manifest.payload.fields  # every feature is in the log as it came
        self._inputs = len(specs)
        self._label = label_output(manifest.prediction)
        classes = manifest.prediction.classes
        self._probabilities = probabilities_output(manifest.prediction) if classes else ""
        self._widths = {f.input: width(specs[f.input]) for f in manifest.features}
        self._summaries = [summary.name for summary in manifest.summaries or []]
        self._answer = len(manifest.features) + len(self._summaries)
        self._is_summary_only = len(columns(manifest)) == len(self._summaries)
        self._slices = list(_slices(manifest.features))
        self._label_types = _NUMBERS if manifest.task == "regression" else _LABELS
        self._numbers = [n for n, f in enumerate(manifest.features) if f.kind == "numeric"]
        self._all_numbers = len(self._numbers) == len(manifest.features)
        self._categories = [(n, f) for n, f in enumerate(manifest.features) if f.kind != "numeric"]

    def prediction(self, row: Sequence[Any]) -> bytes | None:
        """Return the encoded prediction among a row's values; None if the model makes none."""
        return encode(row[self._answer]) if self._label else None

    def rows(self, event: PredictionEvent) -> list[Sequence[Any]]:
        """Return the values of every answered row, in the order of `columns`.

        Raises InvalidFeatures (inputs that do not carry the features), KeyError (an output that is
        not there) or ValueError (summaries that do not fit the rows).
        """
        if self._plain and event.rows == 1 and (row := self._only_row(event)) is not None:
            return [row]
        return list(_values(self._manifest, event))

    def encode(self, row: PredictedRow) -> bytes:
        """Return the stored form of the values: a list, or only the summaries by name."""
        if row.partial:
            return encode(dict(zip(self._summaries, row.values, strict=True)))
        return encode(row.values)

    def rows_without_payload(self, event: PredictionEvent) -> Sequence[PredictedRow | None]:
        """Return the summaries of each answered row of an event without a payload.

        Summaries are complete in every event. None if the version has none, or where they were
        withheld with the payload. Raises ValueError for summaries that do not fit the rows.
        """
        if not self._summaries or not event.summaries:
            return [None] * event.rows
        rows = zip(*_summaries(self._manifest, event), strict=True)
        return [PredictedRow(row, None, partial=not self._is_summary_only) for row in rows]

    def has_more(self, event: PredictionEvent) -> bool:
        """Return whether an event that fits carries inputs besides those that the version takes."""
        return len(event.inputs) > self._inputs

    def _only_row(self, event: PredictionEvent) -> list[Any] | None:
        """Return the row of an ordinary event; None for one that needs the slow path."""
        inputs = event.inputs
        for name, size in self._widths.items():
            tensor = inputs.get(name)
            if tensor is None or len(tensor.data) != size or tensor.shape[:1] not in _ONE:
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
        return self._with_answer(row, event)

    def _with_answer(self, row: list[Any], event: PredictionEvent) -> list[Any] | None:
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
    """Yield the features in their order, as parts of their inputs: input, first index, end."""
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
    """Return one tuple per answered row, whatever the event looks like."""
    carrying = {feature.input for feature in manifest.features}
    inputs = {name: tensor for name, tensor in event.inputs.items() if name in carrying}
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
    """Return the values of each summary; None for every row if the event does not have it."""
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
    """Raise ValueError if an answer is nothing that a model can have answered."""
    fitting = _NUMBERS if numbers else _NUMBERS | _LABELS
    for value in values:
        is_word = isinstance(value, str) and value in INFINITIES
        if type(value) not in fitting and not is_word:
            expected = "a number" if numbers else "a class"
            raise ValueError(f"output {output!r}: expected {expected}, got {value!r:.80}")


def _spelled(column: list[Any] | None) -> list[Any] | None:
    """Return JSON has no infinities: they are kept as the words that the log has for them."""
    return spell(column) if column and (inf in column or -inf in column) else column
