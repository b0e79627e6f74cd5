"""Detect changed correlations between columns, which no single column shows.

Two kinds of measures, both as independent of each column's own distribution as possible:

- the correlation of every pair of columns: numbers by their normal score (rank in the reference,
  so that outliers do not dominate), categories by indicators of their most frequent values;
- the reconstruction error: the distance of rows from the principal components that carry most of
  the reference's variance (PCA), which gathers changes spread over many pairs.

Each change is divided by its usual size in windows of the same number of rows, and has a practical
floor. The joint drift is the greatest ratio to its threshold: 1 and above is drift.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from scipy.special import ndtri

from monitoring.counters.reference_domain import category, number
from monitoring.scoring.drift.null_distribution import WINDOWS, BlockBootstrap
from monitoring.scoring.reference import Column
from monitoring.scoring.score_rules import Array

_COMMON = 3  # values of a categorical column that are looked at
_MOST = 64  # columns that are paired, at most: 2,016 pairs
_VARIANCE = 0.8  # of the reference that the kept directions carry
_SMALLEST = 1e-9  # what varies less is constant


class JointChange(msgspec.Struct, frozen=True):
    """One changed correlation, or the changed reconstruction error."""

    columns: tuple[str, ...]  # empty: the reconstruction error of all
    before: float
    now: float

    def __str__(self) -> str:
        """Describe the change for a score's note."""
        pair = " and ".join(self.columns)
        what = f"the correlation of {pair}" if pair else "the reconstruction error of whole rows"
        return f"{what} is {self.now:.2f}, {self.before:.2f} in the reference"


class RowEncoding:
    """Encode rows as numbers [rows, d], fixed by the reference; missing values are 0."""

    def __init__(self, frame: pd.DataFrame, columns: list[Column]) -> None:
        """From the reference."""
        self.names: list[str] = []
        self._columns: list[tuple[Column, Any]] = []
        for column in columns:
            self._add(column, frame[column.stored])

    def rows(self, frame: pd.DataFrame) -> Array:
        """Encode these rows."""
        parts = [_encoded(column, known, frame[column.stored]) for column, known in self._columns]
        return np.column_stack(parts) if parts else np.zeros((len(frame), 0))

    def _add(self, column: Column, values: "pd.Series[Any]") -> None:
        if len(self.names) >= _MOST:
            return
        known: Any
        if column.kind == "numeric":
            numbers = values.map(number).to_numpy(dtype=float)
            known = np.sort(numbers[np.isfinite(numbers)])
            if len(known) == 0 or known[0] == known[-1]:
                return
            self.names.append(column.name)
        else:
            counts = values.map(category, na_action="ignore").value_counts()
            known = list(counts.index[: min(_COMMON, len(counts) - 1)])
            if not known:
                return
            self.names += [column.name] * len(known)
        self._columns.append((column, known))


def _encoded(column: Column, known: Any, values: "pd.Series[Any]") -> Array:
    if column.kind == "numeric":
        numbers = values.map(number).to_numpy(dtype=float)
        below = np.searchsorted(known, numbers, side="left")
        upto = np.searchsorted(known, numbers, side="right")
        share = (below + upto + 1) / 2 / (len(known) + 1)
        scores: Array = np.where(np.isfinite(numbers), ndtri(share), 0.0)[:, None]
        return scores
    names = values.map(category, na_action="ignore")
    return np.column_stack([names == name for name in known]).astype(float)


class JointDrift:
    """Compare the correlations of windows with those of a reference."""

    def __init__(self, frame: pd.DataFrame, columns: list[Column]) -> None:
        """From the reference."""
        self._encoding = RowEncoding(frame, columns)
        rows = self._encoding.rows(frame)
        self._mean, spread = rows.mean(axis=0), rows.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._reference = (rows - self._mean) / self._spread
        self._minor = _minor(self._reference)
        names = np.array(self._encoding.names)
        self._left, self._right = np.triu_indices(len(names), k=1)
        self._apart = names[self._left] != names[self._right]  # two columns, not values of one

    @property
    def possible(self) -> bool:
        """Whether at least two columns vary."""
        return bool(self._apart.any())

    @cached_property
    def of_reference(self) -> Array:
        """The measures of the reference itself."""
        return self._of(self._reference)

    def of_window(self, frame: pd.DataFrame) -> Array:
        """The measures of these rows: every correlation and, last, the reconstruction error."""
        return self._of((self._encoding.rows(frame) - self._mean) / self._spread)

    def drawn(self, resampling: BlockBootstrap) -> Array:
        """Return measures of drawn windows less their reference's [draws, k]."""
        rows = self._reference
        parts = [rows, rows**2, self._errors(rows), np.ones((len(rows), 1))]
        sums = [resampling.sums(part) for part in parts]
        products = [
            resampling.sums(rows[:, [place]] * rows[:, place + 1 :])
            for place in range(rows.shape[1] - 1)
        ]
        windows, references = (
            self._measures(
                [part[side] for part in sums], np.column_stack([pair[side] for pair in products])
            )
            for side in (0, 1)
        )
        apart: Array = windows - np.repeat(references, WINDOWS, axis=0)
        return apart

    def change(self, place: int, now: float) -> JointChange:
        """Return the change of the measure at an index."""
        before = float(self.of_reference[place])
        if place == len(self._left):
            return JointChange((), before, now)
        names = self._encoding.names
        pair = (names[self._left[place]], names[self._right[place]])
        return JointChange(pair, before, now)

    def _of(self, rows: Array) -> Array:
        products = (rows.T @ rows)[self._left, self._right]
        parts = [rows, rows**2, self._errors(rows), np.ones((len(rows), 1))]
        sums = [part.sum(axis=0, keepdims=True) for part in parts]
        measures: Array = self._measures(sums, products[None, :])[0]
        return measures

    def _errors(self, rows: Array) -> Array:
        errors: Array = ((rows @ self._minor) ** 2).sum(axis=1, keepdims=True)
        return errors

    def _measures(self, moments: Sequence[Array], products: Array) -> Array:
        """From sums over rows, [draws, ..] each: of values, squares, errors, rows; of products."""
        sums, squares, errors, counts = moments
        first = sums / counts
        spread = np.sqrt(np.maximum(squares / counts - first**2, 0))
        both = spread[:, self._left] * spread[:, self._right]
        apart = products / counts - first[:, self._left] * first[:, self._right]
        known = (both > _SMALLEST) & self._apart
        correlation = np.divide(apart, both, out=np.zeros_like(apart), where=known)
        return np.column_stack([np.clip(correlation, -1, 1), errors / counts])


def _minor(rows: Array) -> Array:
    """Directions [d, minor] in which rows hardly vary, scaled to a mean squared error of 1."""
    values, directions = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
    carried = np.cumsum(values) / max(float(values.sum()), _SMALLEST)  # from the least up
    minor = directions[:, : max(1, int(np.sum(carried <= 1 - _VARIANCE)))]
    error = float(((rows @ minor) ** 2).sum(axis=1).mean())
    scaled: Array = minor / np.sqrt(error) if error > _SMALLEST else minor[:, :0]
    return scaled
