"""The columns of an output file: each row's prediction, and the id of its event."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from driftline.batch.errors import BatchError
from registry.datatypes import NUMPY
from registry.features import signature
from registry.manifest import Manifest, TensorSpec
from registry.outputs import label_output, probabilities_output
from registry.own_columns import own_name
from registry.rows import FREE
from registry.scores import derive

Array = np.ndarray[Any, Any]
ID, ROW = "prediction_id", "prediction_row"


class OutputColumns:
    """The output columns of one job; rejected rows have no values."""

    def __init__(self, manifest: Manifest, copied: Sequence[pa.Field]) -> None:
        """Derive the columns; `copied` are input columns that the output repeats first."""
        self._manifest = manifest
        self._copied = list(copied)
        self._names = {field.name for field in copied}
        prediction = manifest.prediction
        self._label = label_output(prediction)
        self._chances = probabilities_output(prediction)
        specs = {spec.name: spec for spec in signature(manifest).outputs}
        self._columns: list[tuple[str, str, int | None, pa.DataType]] = []
        if self._label:
            self._columns.append((self._name("prediction"), self._label, None, self._label_type()))
            kind = _element(specs[self._chances]) if self._chances in specs else pa.float64()
            for place, class_ in enumerate(prediction.classes if self._chances else []):
                self._columns.append(
                    (self._name(f"probability_{class_}"), self._chances, place, kind)
                )
        else:
            rows = [spec for spec in specs.values() if spec.shape[:1] == [FREE]]
            self._columns += [(self._name(s.name), s.name, None, _type(s)) for s in rows]
        if not self._columns:
            raise BatchError("no output of the model has a row for each input row")
        fields = [pa.field(name, kind) for name, _, _, kind in self._columns]
        places = [pa.field(self._name(ID), pa.string()), pa.field(self._name(ROW), pa.int64())]
        self.schema = pa.schema([*self._copied, *fields, *places])

    def table(
        self, rows: pa.Table, places: Array, outputs: Mapping[str, Array], prediction_id: str
    ) -> pa.Table:
        """Return an output row for each row of `rows`; `outputs` has the rows at `places`."""
        count = len(rows)
        arrays = [rows.column(field.name).cast(field.type) for field in self._copied]
        for _, output, column, kind in self._columns:
            values = outputs.get(output) if len(places) else None
            arrays.append(_scattered(values, column, places, count, kind))
        absent = np.ones(count, dtype=bool)
        absent[places] = False
        numbers = np.zeros(count, dtype=np.int64)
        numbers[places] = np.arange(len(places))
        ids = [None if none else prediction_id for none in absent.tolist()]
        arrays += [pa.array(ids, pa.string()), pa.array(numbers, pa.int64(), mask=absent)]
        return pa.table(arrays, schema=self.schema)

    def with_derived(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """Return the outputs; for a model with raw scores, add label and probabilities."""
        prediction = self._manifest.prediction
        if not prediction.scores:
            return outputs
        return outputs | derive(prediction, outputs[prediction.scores])

    def _name(self, base: str) -> str:
        name = own_name(base, self._names)
        self._names.add(name)
        return name

    def _label_type(self) -> pa.DataType:
        prediction = self._manifest.prediction
        specs = {spec.name: spec for spec in signature(self._manifest).outputs}
        if self._label in specs:
            return _element(specs[self._label])
        kinds = {type(class_) for class_ in prediction.classes}
        types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
        return types.get(kinds.pop(), pa.string()) if len(kinds) == 1 else pa.string()


def _element(spec: TensorSpec) -> pa.DataType:
    if spec.datatype == "BYTES":
        return pa.string()
    if spec.datatype == "BF16":  # Arrow has no BF16
        return pa.float32()
    return pa.from_numpy_dtype(NUMPY[spec.datatype])


def _type(spec: TensorSpec) -> pa.DataType:
    """Return the type of a column: a list if an output row has several values."""
    return _element(spec) if spec.shape[1:] in ([], [1]) else pa.list_(_element(spec))


def _scattered(
    values: Array | None, column: int | None, places: Array, count: int, kind: pa.DataType
) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    if pa.types.is_list(kind):
        per_row: list[Any] = [None] * count
        for place, row in zip(places.tolist(), values.reshape(len(places), -1), strict=True):
            per_row[place] = row.tolist()
        return pa.array(per_row, kind)
    chosen = values[:, column] if column is not None else values.reshape(len(places))
    if len(places) == count:
        return _array(chosen, kind)
    absent = np.ones(count, dtype=bool)
    absent[places] = False
    whole = np.zeros(count, dtype=chosen.dtype)
    whole[places] = chosen
    return _array(whole, kind, absent)


def _array(values: Array, kind: pa.DataType, absent: Array | None = None) -> pa.Array:
    if pa.types.is_string(kind):
        values = values.astype(object)
        if absent is not None:
            values[absent] = None
        return pa.array(values.tolist(), kind)
    return pa.array(values, mask=absent).cast(kind)
