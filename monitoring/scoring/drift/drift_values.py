"""Convert a column's values to the form in which drift compares them: one rule for both sides.

Numbers are standardised by the reference, so no method depends on their unit. Categories of a
column with too many of them for its rows are pooled: those that are frequent in one half of the
reference stay, those that are rare there are one, and those that it lacks another. Drift is then
measured against the other half. Were they chosen from the rows that they are compared with, the
frequent ones would always seem to become rarer.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from monitoring.scoring.reference import Column, comparable
from monitoring.scoring.score_rules import Array

MOST_CATEGORIES = 200  # maximum categories that are counted one by one
# Rows of a category that is counted by itself: with fewer, the bootstrap understates distances.
_FREQUENT = 10
_RARE = 0.1  # categories are pooled if rare ones have at least this share
_UNKNOWN = 0.5  # share of rows with values that half of the reference lacks, as identifiers have
_PIECES = 40  # pieces of neighbouring rows, alternately in either half of the reference
_KNOWN, _OTHER = "rare", "other"
_READABLE = (0.01, 1e100)  # reports show numbers of these spreads in their own unit
_CONSTANT = 1e-12  # relative to the largest number: what varies less is constant


class DriftValues:
    """One column's transformation, fixed by the reference."""

    def __init__(
        self, column: Column, reference: "pd.Series[Any]", retained: "pd.Series[Any]"
    ) -> None:
        """`reference`: all its values as stored; `retained`: those that calibration uses."""
        self.column = column
        self._reference = reference
        self._values = comparable(retained, column)

    def current(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Convert the values of a window, as logged."""
        return self._converted(comparable(values, self.column))

    @cached_property
    def expected(self) -> "pd.Series[Any]":
        """The reference's values that windows are compared with."""
        if self._pool is not None:
            return self.retained.iloc[self._second_half]
        return self._converted(comparable(self._reference, self.column))

    @cached_property
    def retained(self) -> "pd.Series[Any]":
        """The values that calibration uses, in the reference's order."""
        return self._converted(self._values)

    @property
    def pooled(self) -> bool:
        """Whether rare categories are pooled."""
        return self._pool is not None

    @property
    def reason(self) -> str:
        """The reason why the column cannot be compared; empty if it can."""
        if self._pool is None or any(name != _KNOWN for name in self._pool.values()):
            return ""
        if float((self.expected.dropna() == _OTHER).mean()) < _UNKNOWN:
            return ""
        return (
            f"like an identifier: {self._values.nunique():,} different values in "
            f"{self._values.count():,} reference rows"
        )

    def readable(self, values: "pd.Series[Any]", converted: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return numbers in their own unit where every method gives the same there."""
        if self.column.kind == "categorical" or not _READABLE[0] < self._scale[1] < _READABLE[1]:
            return converted
        return comparable(values, self.column)

    def _converted(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        if self.column.kind == "numeric":
            centre, scale = self._scale
            numbers = values.to_numpy(dtype=float)
            return pd.Series((numbers / scale - centre) if scale else numbers, values.index)
        if self._pool is None:
            return values
        pool = self._pool
        return values.map(lambda name: pool.get(name, _OTHER), na_action="ignore")

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """The centre, in units of the spread, and the spread."""
        return standard(self._values.to_numpy(dtype=float))

    @cached_property
    def _pool(self) -> dict[str, str] | None:
        """The code of each frequent category; None if all categories stay."""
        if self.column.kind == "numeric":
            return None
        rows = by_frequency(self._values).to_numpy()
        if len(rows) <= MOST_CATEGORIES and np.mean(rows < _FREQUENT) <= _RARE:
            return None
        counts = by_frequency(self._values.iloc[~self._second_half])
        own_codes = min(int(np.sum(counts.to_numpy() >= _FREQUENT)), MOST_CATEGORIES - 2)
        return {
            str(name): f"{place}: {name}" if place <= own_codes else _KNOWN
            for place, name in enumerate(counts.index, 1)
        }

    @cached_property
    def _second_half(self) -> Array:
        size = max(1, len(self._values) // _PIECES)
        half: Array = np.arange(len(self._values)) // size % 2 == 1
        return half


def standard(numbers: Array) -> tuple[float, float]:
    """Return the median in units of the spread, and the spread; a spread of 1 for a constant.

    Numbers whose squares no float holds are brought to size first.
    """
    finite = numbers[np.isfinite(numbers)]
    largest = float(np.abs(finite).max(initial=0.0))
    if not largest:
        return 0.0, 1.0
    sized = finite / largest
    centre = float(np.median(sized))
    spread = float(np.std(sized - centre))
    if spread <= _CONSTANT:
        return centre, largest
    return centre / spread, spread * largest


def by_frequency(names: "pd.Series[Any]") -> "pd.Series[Any]":
    """Count names, the most frequent first, equally frequent ones by their first row."""
    codes, different = pd.factorize(names)
    counts = np.bincount(codes[codes >= 0], minlength=len(different))
    order = np.argsort(-counts, kind="stable")
    return pd.Series(counts[order], different[order])
