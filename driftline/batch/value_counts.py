"""Count a chunk's missing values and values outside the reference, for the chunk's event.

The payload of a chunk is usually too large for the log, so its event contains exact counts over all
rows: missing values, values outside the reference's range or categories, and rows by predicted
class.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from driftline.batch.reference_check import category_text
from registry.manifest import Feature, Manifest, Version
from registry.outputs import label_output
from registry.own_columns import OwnColumns
from registry.payload import withheld
from registry.reference_domains import domains
from registry.reference_path import has_reference

Array = np.ndarray[Any, Any]
MISSING, OUTSIDE = "missing", "outside"
_MOST_CLASSES = 50
_ANY = (-inf, inf)


class ValueCounter:
    """Counts the values of one version's chunks; may be called in several threads."""

    def __init__(self, version: Version) -> None:
        """Read the version's reference; without a reference, no value counts as outside."""
        manifest: Manifest = version.manifest
        hidden = withheld(manifest)
        self._features = [feature for feature in manifest.features if feature.name not in hidden]
        self._ranges: Mapping[str, tuple[float, float]] = {}
        self._categories: Mapping[str, set[str]] = {}
        if has_reference(version):
            self._ranges, self._categories = domains(version, self._features)
        self._prediction = OwnColumns(manifest).prediction
        classified = manifest.task == "classification" and self._prediction not in hidden
        self._label = label_output(manifest.prediction) if classified else ""

    def count(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
    ) -> dict[str, dict[str, int]]:
        """Return the counts above zero, by feature, and the number of rows by predicted class."""
        by_feature: dict[str, dict[str, int]] = {}
        for name, array in inputs.items():
            rows = array.reshape(len(array), -1)
            own = [feature for feature in self._features if feature.input == name]
            numbers = [feature for feature in own if feature.kind != "categorical"]
            odd = [*self._odd_numbers(numbers, rows)] if numbers else []
            odd += [
                (feature.name, *self._odd_categories(feature, rows[:, feature.index]))
                for feature in own
                if feature.kind == "categorical"
            ]
            for feature, missing, outside in odd:
                counts = {MISSING: missing, OUTSIDE: outside}
                if counts := {what: count for what, count in counts.items() if count}:
                    by_feature[feature] = counts
        labels = outputs.get(self._label)
        if labels is not None and len(labels):
            classes = Counter(labels.reshape(-1).tolist())
            if len(classes) <= _MOST_CLASSES:
                by_feature[self._prediction] = {
                    _class(name): n for name, n in sorted(classes.items())
                }
        return by_feature

    def _odd_numbers(
        self, features: Sequence[Feature], rows: Array
    ) -> Iterator[tuple[str, int, int]]:
        """Yield each feature's name and its numbers of missing and outside values."""
        places = [feature.index for feature in features]
        chosen = rows if places == list(range(rows.shape[1])) else rows[:, places]
        ranges = [self._ranges.get(feature.name, _ANY) for feature in features]
        low, high = (self._limits(chosen, [bounds[n] for bounds in ranges]) for n in (0, 1))
        with np.errstate(invalid="ignore"):
            outside = ((chosen < low) | (chosen > high)).sum(axis=0)
        missing = np.isnan(chosen).sum(axis=0) if chosen.dtype.kind == "f" else outside * 0
        for feature, absent, beyond in zip(features, missing, outside, strict=True):
            yield feature.name, int(absent), int(beyond)

    @staticmethod
    def _limits(rows: Array, limits: Sequence[float]) -> Array:
        """Round limits to the tensor's type, so that the reference's extremes are inside."""
        if rows.dtype.kind == "f":
            return np.array(limits).astype(rows.dtype)
        return np.array(limits)

    def _odd_categories(self, feature: Feature, column: Array) -> tuple[int, int]:
        names = [(category_text(value), n) for value, n in Counter(column.tolist()).items()]
        missing = sum(count for name, count in names if name is None)
        if feature.name not in self._categories:
            return missing, 0
        categories = self._categories[feature.name]
        return missing, sum(n for name, n in names if name is not None and name not in categories)


def _class(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
