"""Compute the two default drift statistics, from rows and from counts in bins.

Both agree with Evidently's methods of the same names on the same rows, which a test checks. They
are used to calibrate thresholds, while windows are scored by Evidently.

Numeric bins are fixed by the reference. Half of the bin edges divide the rows into equal numbers,
and half divide the range into equal widths, so that both the bulk and the tails are resolved. Each
category has its own bin.
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon as _distance
from scipy.stats import wasserstein_distance

from monitoring.scoring.drift.drift_values import standard
from monitoring.scoring.feature_values import categories, numbers_of
from monitoring.scoring.reference import Column
from monitoring.scoring.score_rules import Array

SMALLEST_SPREAD = 0.001  # replaces a smaller spread, as in Evidently


def wasserstein(reference: Array, current: Array) -> float:
    """Return the earth mover's distance of two samples, in the reference's standard deviations."""
    centre, scale = standard(reference)
    first, second = reference / scale - centre, current / scale - centre
    spread = max(float(np.std(first)), SMALLEST_SPREAD)
    return float(wasserstein_distance(first, second)) / spread


def jensenshannon(reference: Array, current: Array) -> float:
    """Return the distance of two samples of category codes, from 0 (equal) to 0.83 (disjoint)."""
    size = int(max(reference.max(), current.max())) + 1
    shares = [np.bincount(part, minlength=size) / len(part) for part in (reference, current)]
    return float(_distance(*shares))


_BINS = 40  # number of bins of equal counts, and number of bins of equal widths


class BinnedColumn:
    """One column of a reference, divided into bins; missing values are in no bin."""

    def __init__(self, values: "pd.Series[Any]", column: Column) -> None:
        """`values` are the reference's values, in its order."""
        self.numeric = column.kind == "numeric"
        self.codes = self._bin_numbers(values) if self.numeric else self._bin_categories(values)
        self.size = int(self.codes.max(initial=-1)) + 1

    def one_hot(self) -> Array:
        """Return an array [rows, bins] with 1 in the bin of each row's value."""
        matrix = np.zeros((len(self.codes), self.size), dtype=np.float32)
        present = np.flatnonzero(self.codes >= 0)
        matrix[present, self.codes[present]] = 1
        return matrix

    def distance(self, windows: Array, references: Array) -> Array:
        """Return each window's distance from its reference; both are counts [draws, bins]."""
        first, second = _shares(references), _shares(windows)
        if self.numeric:
            gaps = np.abs(np.cumsum(second - first, axis=1)[:, :-1])
            distance: Array = gaps @ np.diff(self._centres) / self._spreads(first)
            return distance
        return _jensenshannon(first, second)

    def _spreads(self, shares: Array) -> Array:
        """Return each drawn reference's standard deviation, in which its distances are stated."""
        mean = shares @ self._centres
        spread: Array = np.sqrt(np.maximum(shares @ self._centres**2 - mean**2, 0))
        return np.maximum(spread * self._spread / self._spread_of_centres, SMALLEST_SPREAD)

    def _bin_numbers(self, values: "pd.Series[Any]") -> Array:
        numbers = numbers_of(values)
        finite = numbers[np.isfinite(numbers)]
        codes = np.full(len(numbers), -1)
        if finite.size:
            full = np.quantile(finite, np.linspace(0, 1, _BINS + 1)[1:-1])
            wide = np.linspace(finite.min(), finite.max(), _BINS + 1)[1:-1]
            edges = np.unique(np.concatenate([full, wide]))
            bins = np.searchsorted(edges, finite, side="right")
            places = np.unique(bins, return_inverse=True)[1]
            codes[np.isfinite(numbers)] = places
            self._centres = np.bincount(places, finite) / np.bincount(places)
            self._spread = max(float(np.std(finite)), SMALLEST_SPREAD)
            self._spread_of_centres = max(float(np.std(self._centres[places])), SMALLEST_SPREAD)
        return codes

    def _bin_categories(self, values: "pd.Series[Any]") -> Array:
        names = categories(values)
        common = {name: place for place, name in enumerate(names.value_counts().index)}
        codes: Array = names.map(common).fillna(-1).to_numpy(dtype=int)
        return codes


def _shares(counts: Array) -> Array:
    shares: Array = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def _jensenshannon(first: Array, second: Array) -> Array:
    middle = (first + second) / 2
    divergence = (_relative(first, middle) + _relative(second, middle)) / 2
    root: Array = np.sqrt(np.maximum(divergence, 0))
    return root


def _relative(share: Array, middle: Array) -> Array:
    ratio = np.divide(share, middle, out=np.ones_like(share), where=share > 0)
    total: Array = (share * np.log(ratio)).sum(axis=1)
    return total
