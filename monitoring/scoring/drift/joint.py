"""Detect changed correlations between columns, which no single column shows.

Two kinds of measures depend as little as possible on the columns' own distributions:

- The correlation of each pair of columns. Numbers are replaced by their normal score (their rank in
  the reference), so that outliers do not dominate. Categories are replaced by indicators of their
  most frequent values.
- The reconstruction error: the distance of rows from the principal components (PCA) that explain
  most of the reference's variance. It adds up small changes of many pairs.

Each change is divided by its usual size in windows of the same number of rows, and must exceed a
practical floor. The joint drift is the greatest ratio of a change to its threshold; 1 or more is
drift.

Principal components fit the rows from which they were computed better than any other rows. They are
therefore computed from each half of the reference, and a window's error is compared with the error
of the other half, which is equally new to the components. With fewer than `ROWS_PER_COLUMN`
reference rows per encoded column even this estimate is too noisy, and joint drift is not scored.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from scipy.special import ndtri

from monitoring.scoring.drift.drift_values import by_frequency
from monitoring.scoring.drift.null_distribution import BlockBootstrap
from monitoring.scoring.feature_values import categories, numbers_of
from monitoring.scoring.reference import Column
from monitoring.scoring.score_rules import MIN_VALUES, Array

_COMMON = 3  # maximum values of a categorical column that get an indicator
_LEAST_SHARE = 0.05  # minimum share of these values; rarer values are common only by chance
_MOST = 64  # maximum encoded columns, which form 2,016 pairs
_VARIANCE = 0.8  # share of the reference's variance that the principal components explain
_SMALLEST = 1e-9  # a spread up to this is regarded as zero
_PIECES = 40  # pieces of neighbouring rows that are assigned to the two halves in turn
ROWS_PER_COLUMN = 40  # minimum reference rows per encoded column


class JointChange(msgspec.Struct, frozen=True):
    """One changed correlation, or the changed reconstruction error."""

    columns: tuple[str, ...]  # the pair of columns; empty for the reconstruction error
    before: float
    now: float

    def __str__(self) -> str:
        """Describe the change for a score's note."""
        pair = " and ".join(self.columns)
        what = f"the correlation of {pair}" if pair else "the reconstruction error of whole rows"
        return f"{what} is {self.now:.2f}, {self.before:.2f} in the reference"


class RowEncoding:
    """Encoding of rows as numbers [rows, d], fixed by the reference; missing values become 0."""

    def __init__(self, frame: pd.DataFrame, columns: list[Column]) -> None:
        """`frame` contains the reference's rows."""
        self.names: list[str] = []
        self._columns: list[tuple[Column, Any]] = []
        for column in columns:
            self._add(column, frame[column.stored])

    def rows(self, frame: pd.DataFrame, *, is_reference: bool = False) -> Array:
        """Encode rows; if `is_reference`, each row is ranked among the other rows."""
        parts = [
            _encoded(column, values, frame[column.stored], is_reference=is_reference)
            for column, values in self._columns
        ]
        return np.column_stack(parts) if parts else np.zeros((len(frame), 0))

    def _add(self, column: Column, values: "pd.Series[Any]") -> None:
        if len(self.names) >= _MOST:
            return
        encoding: Any
        if column.kind == "numeric":
            numbers = numbers_of(values)
            encoding = np.sort(numbers[np.isfinite(numbers)])
            if len(encoding) == 0 or encoding[0] == encoding[-1]:
                return
            self.names.append(column.name)
        else:
            counts = by_frequency(categories(values))
            minimum = max(MIN_VALUES, _LEAST_SHARE * counts.sum())
            common = counts.index[: min(_COMMON, len(counts) - 1)]
            encoding = [name for name in common if counts[name] >= minimum]
            if not encoding:
                return
            self.names += [column.name] * len(encoding)
        self._columns.append((column, encoding))


def _encoded(
    column: Column, encoding: Any, values: "pd.Series[Any]", *, is_reference: bool
) -> Array:
    if column.kind == "numeric":
        numbers = numbers_of(values)
        below = np.searchsorted(encoding, numbers, side="left")
        up_to = np.searchsorted(encoding, numbers, side="right")
        others = len(encoding) - is_reference
        share = (below + up_to - is_reference + 1) / 2 / (others + 1)
        scores: Array = np.where(np.isfinite(numbers), ndtri(share), 0.0)[:, None]
        return scores
    places = categories(values).map({name: place for place, name in enumerate(encoding)})
    codes = places.to_numpy(dtype=float)
    indicators: Array = codes[:, None] == np.arange(len(encoding))
    return indicators.astype(float)


class JointDrift:
    """Compares the correlations of windows with the reference's correlations."""

    def __init__(self, frame: pd.DataFrame, columns: list[Column]) -> None:
        """`frame` contains the reference's rows."""
        self._encoding = RowEncoding(frame, columns)
        rows = self._encoding.rows(frame, is_reference=True)
        self._mean, self._spread = _moments(rows)
        self._reference = (rows - self._mean) / self._spread
        self._halves, self._own_errors = _cross_fitted(frame, columns)
        names = np.array(self._encoding.names)
        self._left, self._right = np.triu_indices(len(names), k=1)
        # Pairs of two columns; the other pairs are two values of the same column.
        self._is_pair = names[self._left] != names[self._right]

    @property
    def reason(self) -> str:
        """The reason why correlations cannot be compared, or "" if they can."""
        if not self._is_pair.any():
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
        return self._measures_of_rows(self._reference, self._own_errors)

    def of_window(self, frame: pd.DataFrame) -> Array:
        """Return a window's measures: every correlation, then the reconstruction error."""
        rows = (self._encoding.rows(frame) - self._mean) / self._spread
        return self._measures_of_rows(
            rows, np.mean([half.errors(frame) for half in self._halves], axis=0)
        )

    def drawn(self, resampling: BlockBootstrap) -> Array:
        """Return the measures of drawn windows minus their drawn reference's measures [draws, k].

        Errors are divided by the mean error of the drawn reference, because a reference's own mean
        error is 1 by definition.
        """
        rows = self._reference
        parts = [rows, rows**2, self._own_errors, np.ones((len(rows), 1))]
        sums = [resampling.sums(part) for part in parts]
        products = [
            resampling.sums(rows[:, [place]] * rows[:, place + 1 :])
            for place in range(rows.shape[1] - 1)
        ]
        windows, references = (
            self._measures_from_sums(
                [part[side] for part in sums], np.column_stack([pair[side] for pair in products])
            )
            for side in (0, 1)
        )
        references = np.repeat(references, resampling.windows, axis=0)
        changes: Array = windows - references
        changes[:, -1] /= np.maximum(references[:, -1], _SMALLEST)
        return changes

    def usual(self, changes: Array) -> Array:
        """Return the usual size of each measure's change, from draws [draws, k].

        The spread of each pair is estimated from the reference's rows. Among hundreds of pairs, the
        pairs with underestimated spreads would decide. The spread of a correlation r is therefore
        at least (1 - r^2) times the spread in the median pair.
        """
        sizes: Array = np.sqrt(np.mean(changes**2, axis=0))
        scale = 1 - self.of_reference[:-1] ** 2
        varying = (sizes[:-1] > 0) & (scale > _SMALLEST)
        if varying.any():
            median = float(np.median(sizes[:-1][varying] / scale[varying]))
            sizes[:-1][varying] = np.maximum(sizes[:-1], median * scale)[varying]
        return sizes

    def change(self, place: int, now: float) -> JointChange:
        """Return the change of the measure at the index `place`, whose value is `now`."""
        before = float(self.of_reference[place])
        if place == len(self._left):
            return JointChange((), before, now)
        names = self._encoding.names
        pair = (names[self._left[place]], names[self._right[place]])
        return JointChange(pair, before, now)

    def _measures_of_rows(self, rows: Array, errors: Array) -> Array:
        products = (rows.T @ rows)[self._left, self._right]
        parts = [rows, rows**2, errors, np.ones((len(rows), 1))]
        sums = [part.sum(axis=0, keepdims=True) for part in parts]
        measures: Array = self._measures_from_sums(sums, products[None, :])[0]
        return measures

    def _measures_from_sums(self, moments: Sequence[Array], products: Array) -> Array:
        """Return the measures, computed from sums over rows; each array is [draws, ...]."""
        sums, squares, errors, counts = moments
        first = sums / counts
        spread = np.sqrt(np.maximum(squares / counts - first**2, 0))
        spread_products = spread[:, self._left] * spread[:, self._right]
        covariance = products / counts - first[:, self._left] * first[:, self._right]
        defined = (spread_products > _SMALLEST) & self._is_pair
        correlation = np.divide(
            covariance, spread_products, out=np.zeros_like(covariance), where=defined
        )
        return np.column_stack([np.clip(correlation, -1, 1), errors / counts])


def _moments(rows: Array) -> tuple[Array, Array]:
    """Return each column's mean and standard deviation; 1 replaces a standard deviation of 0."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(spread > 0, spread, 1.0)


class _Half:
    """One half of a reference: its encoding and its directions of least variance."""

    def __init__(self, half: pd.DataFrame, other: pd.DataFrame, columns: list[Column]) -> None:
        """Fit the rows of `half`; errors are in units of the mean error of `other`."""
        self._encoding = RowEncoding(half, columns)
        rows = self._encoding.rows(half, is_reference=True)
        self._mean, self._spread = _moments(rows)
        self._minor_directions = _minor_directions((rows - self._mean) / self._spread)
        self._unit = 1.0
        unit = float(self.errors(other).mean()) if len(other) else 0.0
        if unit > _SMALLEST:
            self._unit = unit
        else:  # rows do not vary in these directions
            self._minor_directions = self._minor_directions[:, :0]

    def errors(self, frame: pd.DataFrame) -> Array:
        """Return each row's reconstruction error [rows, 1]."""
        rows = (self._encoding.rows(frame) - self._mean) / self._spread
        errors: Array = ((rows @ self._minor_directions) ** 2).sum(
            axis=1, keepdims=True
        ) / self._unit
        return errors


def _cross_fitted(frame: pd.DataFrame, columns: list[Column]) -> tuple[list[_Half], Array]:
    """Return both halves of a reference, and each row's error according to the other half."""
    second = np.arange(len(frame)) // max(1, len(frame) // _PIECES) % 2 == 1
    halves, errors = [], np.zeros((len(frame), 1))
    for fitted in (second, ~second):
        halves.append(_Half(frame[fitted], frame[~fitted], columns))
        errors[~fitted] = halves[-1].errors(frame[~fitted])
    return halves, errors


def _minor_directions(rows: Array) -> Array:
    """Return the directions [d, minor] in which rows vary least."""
    values, directions = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
    # Eigenvalues are in ascending order, so these are the shares of the least variance.
    explained = np.cumsum(values) / max(float(values.sum()), _SMALLEST)
    count = max(1, int(np.sum(explained <= 1 - _VARIANCE)))
    minor: Array = directions[:, :count]
    return minor
