"""Convert a column's values, of window and reference alike, to the form in which they are compared.

Numbers are standardised by the reference, so the result does not depend on their unit. If a column
has too many categories for its number of rows, its categories are pooled by one half of the
reference. Categories that are frequent in that half remain, all rare categories become one
category, and all categories that the half does not contain become another. Drift is then measured
against the other half. If the frequent categories were chosen from the rows that windows are
compared with, they would always seem to become rarer.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from monitoring.scoring.reference import Column, comparable
from monitoring.scoring.score_rules import Array

MOST_CATEGORIES = 200  # maximum categories of a column that is not pooled
# Minimum rows of a frequent category; with fewer rows, the bootstrap understates distances.
_FREQUENT = 10
_RARE = 0.1  # categories are pooled if rare categories are more than this share of all categories
_UNKNOWN = 0.5  # minimum share of rows with unknown values in a column of identifiers
_PIECES = 40  # pieces of neighbouring rows that are assigned to the two halves in turn
_KNOWN, _OTHER = "rare", "other"  # codes of pooled categories: in the half, and not in the half
_READABLE = (0.01, 1e100)  # reports show numbers with a spread in this range in their own unit
_CONSTANT = 1e-12  # spread of a constant column, relative to its largest number


class DriftValues:
    """The conversion of one column's values, fixed by the reference."""

    def __init__(
        self, column: Column, reference: "pd.Series[Any]", retained: "pd.Series[Any]"
    ) -> None:
        """`reference` has all stored values, `retained` the values that calibration uses."""
        self.column = column
        self._reference = reference
        self._values = comparable(retained, column)

    def current(self, values: "pd.Series[Any]") -> "pd.Series[Any]":
        """Convert a window's logged values."""
        return self._converted(comparable(values, self.column))

    @cached_property
    def expected(self) -> "pd.Series[Any]":
        """The converted reference values that windows are compared with."""
        if self._pool is not None:
            return self.retained.iloc[self._second_half]
        return self._converted(comparable(self._reference, self.column))

    @cached_property
    def retained(self) -> "pd.Series[Any]":
        """The converted values that calibration uses, in the reference's order."""
        return self._converted(self._values)

    @property
    def pooled(self) -> bool:
        """Whether rare categories are pooled."""
        return self._pool is not None

    @property
    def reason(self) -> str:
        """The reason why the column cannot be compared, or "" if it can."""
        if self._pool is None or any(name != _KNOWN for name in self._pool.values()):
            return ""
        if float((self.expected.dropna() == _OTHER).mean()) < _UNKNOWN:
            return ""
        return (
            f"like an identifier: {self._values.nunique():,} different values in "
            f"{self._values.count():,} reference rows"
        )

    def readable(self, values: "pd.Series[Any]", converted: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return numbers in their own unit if this changes no method's result, else `converted`."""
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
        """The median in units of the spread, and the spread."""
        return standard(self._values.to_numpy(dtype=float))

    @cached_property
    def _pool(self) -> dict[str, str] | None:
        """The code of each category in the first half; None if categories are not pooled."""
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
    """Return the median in units of the spread, and the spread.

    The spread of a constant is its absolute value, or 1 if it is zero. Numbers are first divided by
    the largest number, because the square of a very large number exceeds the range of floats.
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
    """Count names, most frequent first; names of equal count in the order of their first rows."""
    codes, different = pd.factorize(names)
    counts = np.bincount(codes[codes >= 0], minlength=len(different))
    order = np.argsort(-counts, kind="stable")
    return pd.Series(counts[order], different[order])
