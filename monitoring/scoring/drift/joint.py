"""Detect changed correlations between columns, which no single column shows.

Two kinds of measures, both as independent of each column's own distribution as possible:

- the correlation of every pair of columns: numbers by their normal score (rank in the reference,
  so that outliers do not dominate), categories by indicators of their most frequent values;
- the reconstruction error: the distance of rows from the principal components that carry most of
  the reference's variance (PCA), which gathers changes spread over many pairs.

Each change is divided by its usual size in windows of the same number of rows, and has a practical
floor. The joint drift is the greatest ratio to its threshold: 1 and above is drift.

Components fit the rows that they were computed from better than any other rows. They are therefore
computed from each half of the reference, and a window's error is compared with that of the other
half: both are new to the components. With fewer than `ROWS_PER_COLUMN` reference rows per encoded
column even that estimate is too noisy, and joint drift is not scored.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from scipy.special import ndtri

from monitoring.counters.plain_values import category, number
from monitoring.scoring.drift.drift_values import by_frequency
from monitoring.scoring.drift.null_distribution import BlockBootstrap
from monitoring.scoring.reference import Column
from monitoring.scoring.score_rules import MIN_VALUES, Array

_COMMON = 3  # values of a categorical column that are looked at
_LEAST_SHARE = 0.05  # smallest share of an examined value: rarer ones seem common by chance
_MOST = 64  # columns that are paired, at most: 2,016 pairs
_VARIANCE = 0.8  # share of the reference's variance in the retained directions
_SMALLEST = 1e-9  # what varies less is constant
_PIECES = 40  # pieces of neighbouring rows, alternately in either half of the reference
ROWS_PER_COLUMN = 40  # minimum reference rows per column


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

    def rows(self, frame: pd.DataFrame, *, own: bool = False) -> Array:
        """Encode these rows; `own`: rows of the reference, each ranked among the others."""
        parts = [
            _encoded(column, values, frame[column.stored], own=own)
            for column, values in self._columns
        ]
        return np.column_stack(parts) if parts else np.zeros((len(frame), 0))

    def _add(self, column: Column, values: "pd.Series[Any]") -> None:
        if len(self.names) >= _MOST:
            return
        encoding: Any
        if column.kind == "numeric":
            numbers = values.map(number).to_numpy(dtype=float)
            encoding = np.sort(numbers[np.isfinite(numbers)])
            if len(encoding) == 0 or encoding[0] == encoding[-1]:
                return
            self.names.append(column.name)
        else:
            counts = by_frequency(values.map(category, na_action="ignore"))
            least = max(MIN_VALUES, _LEAST_SHARE * counts.sum())
            common = counts.index[: min(_COMMON, len(counts) - 1)]
            encoding = [name for name in common if counts[name] >= least]
            if not encoding:
                return
            self.names += [column.name] * len(encoding)
        self._columns.append((column, encoding))


def _encoded(column: Column, encoding: Any, values: "pd.Series[Any]", *, own: bool) -> Array:
    if column.kind == "numeric":
        numbers = values.map(number).to_numpy(dtype=float)
        below = np.searchsorted(encoding, numbers, side="left")
        upto = np.searchsorted(encoding, numbers, side="right")
        others = len(encoding) - own
        share = (below + upto - own + 1) / 2 / (others + 1)
        scores: Array = np.where(np.isfinite(numbers), ndtri(share), 0.0)[:, None]
        return scores
    names = values.map(category, na_action="ignore")
    return np.column_stack([names == name for name in encoding]).astype(float)


class JointDrift:
    """Compare the correlations of windows with those of a reference."""

    def __init__(self, frame: pd.DataFrame, columns: list[Column]) -> None:
        """From the reference."""
        self._encoding = RowEncoding(frame, columns)
        rows = self._encoding.rows(frame, own=True)
        self._mean, self._spread = _moments(rows)
        self._reference = (rows - self._mean) / self._spread
        self._halves, self._own_errors = _cross_fitted(frame, columns)
        names = np.array(self._encoding.names)
        self._left, self._right = np.triu_indices(len(names), k=1)
        self._apart = names[self._left] != names[self._right]  # two columns, not values of one

    @property
    def reason(self) -> str:
        """The reason why correlations cannot be compared; empty if they can."""
        if not self._apart.any():
            return "fewer than two columns that vary"
        rows, columns = self._reference.shape
        if rows < ROWS_PER_COLUMN * columns:
            return (
                f"not enough reference rows: {rows:,} for {columns} encoded columns, at least "
                f"{ROWS_PER_COLUMN * columns:,} are needed"
            )
        return ""

    @property
    def possible(self) -> bool:
        """Whether correlations can be compared."""
        return not self.reason

    @cached_property
    def of_reference(self) -> Array:
        """The measures of the reference itself."""
        return self._of(self._reference, self._own_errors)

    def of_window(self, frame: pd.DataFrame) -> Array:
        """Return the measures of these rows: every correlation, then the reconstruction error."""
        rows = (self._encoding.rows(frame) - self._mean) / self._spread
        return self._of(rows, np.mean([half.errors(frame) for half in self._halves], axis=0))

    def drawn(self, resampling: BlockBootstrap) -> Array:
        """Return measures of drawn windows less their reference's [draws, k].

        The mean error of a reference is 1, whatever its rows: of a drawn one, it is the unit.
        """
        rows = self._reference
        parts = [rows, rows**2, self._own_errors, np.ones((len(rows), 1))]
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
        references = np.repeat(references, resampling.windows, axis=0)
        apart: Array = windows - references
        apart[:, -1] /= np.maximum(references[:, -1], _SMALLEST)
        return apart

    def usual(self, apart: Array) -> Array:
        """Return the usual size of each measure's change, from draws [draws, k].

        The draws of one pair rest on the reference's rows alone, and among hundreds of pairs those
        whose spread is underestimated would decide. A correlation r is therefore taken to vary at
        least by (1 - r^2) times what it varies by in the median pair.
        """
        own: Array = np.sqrt(np.mean(apart**2, axis=0))
        scale = 1 - self.of_reference[:-1] ** 2
        varying = (own[:-1] > 0) & (scale > _SMALLEST)
        if varying.any():
            median = float(np.median(own[:-1][varying] / scale[varying]))
            own[:-1][varying] = np.maximum(own[:-1], median * scale)[varying]
        return own

    def change(self, place: int, now: float) -> JointChange:
        """Return the change of the measure at an index."""
        before = float(self.of_reference[place])
        if place == len(self._left):
            return JointChange((), before, now)
        names = self._encoding.names
        pair = (names[self._left[place]], names[self._right[place]])
        return JointChange(pair, before, now)

    def _of(self, rows: Array, errors: Array) -> Array:
        products = (rows.T @ rows)[self._left, self._right]
        parts = [rows, rows**2, errors, np.ones((len(rows), 1))]
        sums = [part.sum(axis=0, keepdims=True) for part in parts]
        measures: Array = self._measures(sums, products[None, :])[0]
        return measures

    def _measures(self, moments: Sequence[Array], products: Array) -> Array:
        """Return the measures from sums over rows, [draws, ..] each."""
        sums, squares, errors, counts = moments
        first = sums / counts
        spread = np.sqrt(np.maximum(squares / counts - first**2, 0))
        both = spread[:, self._left] * spread[:, self._right]
        apart = products / counts - first[:, self._left] * first[:, self._right]
        defined = (both > _SMALLEST) & self._apart
        correlation = np.divide(apart, both, out=np.zeros_like(apart), where=defined)
        return np.column_stack([np.clip(correlation, -1, 1), errors / counts])


def _moments(rows: Array) -> tuple[Array, Array]:
    """Return the mean and the spread of each column; a constant has a spread of 1."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(spread > 0, spread, 1.0)


class _Half:
    """One half of a reference: its encoding and its directions of least variance."""

    def __init__(self, half: pd.DataFrame, other: pd.DataFrame, columns: list[Column]) -> None:
        """Fit `half`; the mean error of the `other` is the unit."""
        self._encoding = RowEncoding(half, columns)
        rows = self._encoding.rows(half, own=True)
        self._mean, self._spread = _moments(rows)
        self._minor = _minor((rows - self._mean) / self._spread)
        self._unit = 1.0
        unit = float(self.errors(other).mean()) if len(other) else 0.0
        if unit > _SMALLEST:
            self._unit = unit
        else:  # nothing varies along them
            self._minor = self._minor[:, :0]

    def errors(self, frame: pd.DataFrame) -> Array:
        """Return the reconstruction error of rows [rows, 1]."""
        rows = (self._encoding.rows(frame) - self._mean) / self._spread
        errors: Array = ((rows @ self._minor) ** 2).sum(axis=1, keepdims=True) / self._unit
        return errors


def _cross_fitted(frame: pd.DataFrame, columns: list[Column]) -> tuple[list[_Half], Array]:
    """Return both halves of a reference, and the error of each row by the other half."""
    second = np.arange(len(frame)) // max(1, len(frame) // _PIECES) % 2 == 1
    halves, errors = [], np.zeros((len(frame), 1))
    for fitted in (second, ~second):
        halves.append(_Half(frame[fitted], frame[~fitted], columns))
        errors[~fitted] = halves[-1].errors(frame[~fitted])
    return halves, errors


def _minor(rows: Array) -> Array:
    """Return the directions [d, minor] in which rows vary least."""
    values, directions = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
    carried = np.cumsum(values) / max(float(values.sum()), _SMALLEST)  # smallest value first
    count = max(1, int(np.sum(carried <= 1 - _VARIANCE)))
    minor: Array = directions[:, :count]
    return minor
