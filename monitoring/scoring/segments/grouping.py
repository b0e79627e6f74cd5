"""Assign rows to groups: one group per value of a feature, or per range of its numbers.

The groups are the most frequent values of the reference, so clients cannot increase their number.
All other values are in the group "(other)", and rows without a value are in the group "(missing)".
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from monitoring.scoring.feature_values import categories, numbers_of
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import Array
from registry.manifest import Feature, SegmentPolicy
from registry.payload import withheld

_OTHER, _MISSING = "(other)", "(missing)"
_LONGEST = 60  # maximum characters of a group's name


class Grouping:
    """The groups of one feature."""

    def __init__(
        self, segment: SegmentPolicy, feature: Feature, expected: "pd.Series[Any]"
    ) -> None:
        """`expected` are the feature's values in the reference."""
        self.column = segment.column
        self._edges = segment.edges
        if feature.kind == "numeric":
            self._places: dict[str, int] = {}
            labels = _ranges(segment.edges)
        else:
            counts = categories(expected.dropna()).value_counts()
            common = sorted(counts.index, key=lambda name: (-counts[name], name))
            labels = common[: segment.values]
            self._places = {name: place for place, name in enumerate(labels)}
        self.names = _distinct([*labels, _OTHER, _MISSING])

    @property
    def named(self) -> Sequence[str]:
        """The names of the groups, without "(other)" and "(missing)"."""
        return self.names[:-2]

    def places(self, values: "pd.Series[Any]") -> Array:
        """Return the index of each row's group in `names`."""
        other, missing = len(self.names) - 2, len(self.names) - 1
        if self._edges:
            numbers = numbers_of(values)
            ranges = np.searchsorted(self._edges, numbers, side="right")
            return np.where(np.isnan(numbers), missing, ranges)
        values_as_text = categories(values)
        places = values_as_text.map(self._places).fillna(other).to_numpy(dtype=np.int64)
        return np.where(values.isna().to_numpy(), missing, places)


def grouping(baseline: Baseline, segment: SegmentPolicy) -> Grouping | str:
    """Return the groups of a segment's column, or the reason why the column has no groups."""
    features = {feature.name: feature for feature in baseline.features}
    feature = features.get(segment.column)
    if feature is None:
        return f"{segment.column!r} is not a feature"
    if reason := withheld(baseline.manifest).get(feature.name):
        return reason
    if (feature.kind == "numeric") != bool(segment.edges):
        expected = "edges" if feature.kind == "numeric" else "no edges"
        return f"a {feature.kind} feature needs {expected}"
    return Grouping(segment, feature, baseline.frame[feature.name])


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, shortened but still unique."""
    distinct: dict[str, str] = {}
    for name in names:
        short = name[:_LONGEST]
        distinct[f"{short} ({len(distinct)})" if short in distinct else short] = name
    return list(distinct)


def _ranges(edges: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *inner, f"from {edges[-1]:g}"]
