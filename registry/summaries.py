"""Summaries: numbers for each row of a tensor, with which tensors of any shape can be monitored.

By default, the shape and datatype of a tensor determine its summaries. A manifest can state others.
"""

from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from registry.features import signature
from registry.images import channel_axis, is_image
from registry.manifest import Manifest, Signature, Statistic, Summary, TensorSpec
from registry.row_statistics import (
    NUMBER_STATISTICS,
    TEXT_STATISTICS,
    number_statistics,
    projections,
    text_statistics,
)
from registry.rows import FREE, batch_dimension

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]

_PROJECTIONS = 4  # number of projections of a vector
_SHORTEST_VECTOR = 4  # least number of values in a vector

_TEXT: list[tuple[str, Statistic]] = [
    ("length", "length"),
    ("words", "word_count"),
    ("non-ASCII share", "non_ascii_share"),
    ("empty", "empty"),
]
_NUMBERS: list[tuple[str, Statistic]] = [
    ("mean", "mean"),
    ("std", "std"),
    ("min", "min"),
    ("max", "max"),
    ("norm", "l2_norm"),
    ("zeros", "zero_share"),
    ("missing", "nan_share"),
]


def default_summaries(model_signature: Signature, carried: Collection[str]) -> list[Summary]:
    """Return the summaries of every input and output whose name is not in `carried`.

    `carried` contains the inputs with features and the outputs of the prediction.
    """
    batched = batch_dimension(model_signature) is not None
    names = {spec.name for spec in model_signature.inputs}
    summaries: list[Summary] = []
    for spec in model_signature.inputs:
        if spec.name not in carried:
            summaries += _defaults(spec, spec.name, batched=batched)
    for spec in model_signature.outputs:
        if spec.name not in carried:
            shown = f"{spec.name} (output)" if spec.name in names else spec.name
            summaries += _defaults(spec, shown, batched=batched)
    return summaries


def statistics_of(datatype: str) -> Collection[str]:
    """Return the statistics that a tensor of this datatype can have."""
    return TEXT_STATISTICS if datatype == "BYTES" else NUMBER_STATISTICS


class Summarizer:
    """Compute the summaries of requests for one version."""

    def __init__(self, manifest: Manifest) -> None:
        model_signature = signature(manifest)
        specs = {spec.name: spec for spec in (*model_signature.outputs, *model_signature.inputs)}
        rows = batch_dimension(model_signature)
        declared = sorted(manifest.summaries or [], key=lambda summary: summary.tensor)
        self._plans = [
            _Plan(specs[tensor], list(summaries), rows)
            for tensor, summaries in groupby(declared, key=lambda summary: summary.tensor)
            if tensor in specs
        ]
        self._order = [summary.name for summary in manifest.summaries or []]

    def __bool__(self) -> bool:
        """Return whether the version has summaries."""
        return bool(self._plans)

    def summarize(self, tensors: Tensors, rows: int) -> dict[str, list[float | None]]:
        """Return summary -> one number per row, or None for a row without value.

        Summaries of tensors that are not in `tensors` are omitted.
        """
        columns: dict[str, list[float | None]] = {}
        for plan in self._plans:
            array = tensors.get(plan.tensor)
            if array is not None:
                columns |= plan.compute(array, rows)
        return {name: columns[name] for name in self._order if name in columns}


class _Plan:
    """The summaries of one tensor."""

    def __init__(self, spec: TensorSpec, summaries: list[Summary], rows: int | None) -> None:
        self.tensor = spec.name
        self._summaries = summaries
        self._text = spec.datatype == "BYTES"
        self._has_rows = rows is not None and spec.shape[:1] in ([rows], [FREE])
        item = spec.shape[1:] if self._has_rows else spec.shape
        self._channel_axis = channel_axis(item) if len(item) > 1 else 0
        self._statistics = {summary.statistic for summary in summaries if summary.index is None} - {
            "projection"
        }
        self._directions = sorted(
            {summary.index or 0 for summary in summaries if summary.statistic == "projection"}
        )
        self._of_channels = {
            summary.statistic
            for summary in summaries
            if summary.index is not None and summary.statistic != "projection"
        }

    def compute(self, array: Array, rows: int) -> dict[str, list[float | None]]:
        """Return the values of every summary of this tensor."""
        items = self._items(array, rows)
        if items is None:
            return {summary.name: [None] * rows for summary in self._summaries}
        if self._text:
            flat = items.reshape(len(items), -1)
            texts = text_statistics(flat.tolist(), self._statistics)
            return {summary.name: _listed(texts[summary.statistic]) for summary in self._summaries}
        return self._numbers(items)

    def _items(self, array: Array, rows: int) -> Array | None:
        """Return the array with rows as first dimension, or None if its rows do not match."""
        if self._has_rows and array.shape[:1] == (rows,):
            return array
        return array[None] if rows == 1 else None

    def _numbers(self, items: Array) -> dict[str, list[float | None]]:
        flat = items.reshape(len(items), items[0].size if len(items) else 0)
        channels = self._channels(items) if self._of_channels else []
        whole = _whole(channels, self._statistics) or number_statistics(flat, self._statistics)
        projected = projections(flat, self._directions)
        nothing = np.full(len(items), np.nan)
        columns: dict[str, list[float | None]] = {}
        for summary in self._summaries:
            if summary.statistic == "projection":
                values = projected[summary.index or 0]
            elif summary.index is None:
                values = whole[summary.statistic]
            else:
                values = (
                    channels[summary.index][summary.statistic]
                    if summary.index < len(channels)
                    else nothing
                )
            columns[summary.name] = _listed(values)
        return columns

    def _channels(self, items: Array) -> list[dict[str, Array]]:
        """Return the statistics of every channel."""
        axis = self._channel_axis + 1
        if items.ndim <= axis:
            return []
        count, channels = len(items), items.shape[axis]
        if not count * channels:
            return []
        rows = np.moveaxis(items, axis, 1).reshape(count * channels, -1)
        by_statistic = number_statistics(rows, self._of_channels | {"nan_share"})
        return [
            {name: column[channel::channels] for name, column in by_statistic.items()}
            for channel in range(channels)
        ]


def _whole(channels: list[dict[str, Array]], names: Collection[str]) -> dict[str, Array] | None:
    """Derive mean and std of images from their channels' values; None if this is impossible."""
    derivable = channels and {"mean", "std"} <= channels[0].keys() and {"mean", "std"} >= set(names)
    if not derivable or any(channel["nan_share"].any() for channel in channels):
        return None
    means = np.array([channel["mean"] for channel in channels])
    mean = means.mean(axis=0)
    with np.errstate(all="ignore"):
        variance = np.array([channel["std"] ** 2 for channel in channels]) + (means - mean) ** 2
        return {"mean": mean, "std": np.sqrt(variance.mean(axis=0))}


def _listed(values: Array) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124


def _defaults(spec: TensorSpec, shown: str, *, batched: bool) -> list[Summary]:
    item = spec.shape[1:] if batched else spec.shape

    def summaries(statistics: list[tuple[str, Statistic]]) -> list[Summary]:
        return [Summary(f"{shown}: {name}", spec.name, statistic) for name, statistic in statistics]

    size = summaries([("size", "length")]) if FREE in item else []
    if spec.datatype == "BYTES":
        return summaries(_TEXT)
    if is_image(spec.datatype, item):
        whole = summaries([("brightness", "mean"), ("contrast", "std")])
        return [*whole, *_of_channels(spec.name, shown, item), *size]
    if item in ([], [1]):
        return summaries([("value", "mean")])
    if _is_vector(spec.datatype, item):
        return [*summaries([("norm", "l2_norm")]), *_projections(spec.name, shown)]
    return [*summaries(_NUMBERS), *size]


def _is_vector(datatype: str, item: list[int]) -> bool:
    return datatype.startswith(("FP", "BF")) and len(item) == 1 and item[0] >= _SHORTEST_VECTOR


def _of_channels(name: str, shown: str, item: list[int]) -> list[Summary]:
    count = item[channel_axis(item)]
    if count == 1:
        return []
    statistics: list[tuple[str, Statistic]] = [("mean", "mean"), ("std", "std")]
    return [
        Summary(f"{shown}: channel {channel} {word}", name, statistic, channel)
        for channel in range(count)
        for word, statistic in statistics
    ]


def _projections(name: str, shown: str) -> list[Summary]:
    return [
        Summary(f"{shown}: projection {index}", name, "projection", index)
        for index in range(_PROJECTIONS)
    ]
