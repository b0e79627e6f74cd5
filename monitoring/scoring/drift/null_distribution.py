"""Draw the distribution of each drift statistic without drift (null distribution), by bootstrap.

Rows that are neighbours in time are more similar than random rows. Drawn windows and references are
therefore composed of blocks of neighbouring rows (circular block bootstrap, Politis and Romano
1992). Each calibrated statistic is computed from sums over rows. The sums of each block are
computed once, and a draw adds up the sums of its blocks.

The reference is itself a sample. A new reference is drawn for every few windows, so thresholds
account for the deviation of a reference of this size from the data that the model receives.

All statistics grow with drift: distances are used unchanged, p-values as -ln(p). The two default
methods are computed from counts in bins, for all draws at once. Other methods are computed by
Evidently on fewer draws, as if the column were independent of all other columns. This assumption
can only make thresholds stricter.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import exp, log
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from monitoring.scoring.drift.drift_values import DriftValues
from monitoring.scoring.drift.evidently_adapter import P_VALUES, measure
from monitoring.scoring.drift.statistics import BinnedColumn
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.reference import Baseline, Column
from monitoring.scoring.score_rules import MIN_VALUES, Array
from registry.payload import unmonitored
from registry.validation import UNFIT_METHODS

DRAWS = 4_000  # number of drawn windows
_WINDOWS = 4  # drawn windows per drawn reference
# Drawn windows per drawn reference if the reference has at least `_LARGE` times the rows of a
# window. A large reference has a small error, and drawing many large references takes long.
_WINDOWS_OF_LARGE = 20
_LARGE = 20
_MAX_BLOCKS = 20_000  # maximum blocks in a drawn reference
_WINDOW_BLOCKS = 20  # minimum blocks in a drawn window
_REFERENCE_BLOCKS = 200  # minimum blocks in the drawn rows; fewer underestimate the variance
_STARTS = 2_000  # maximum number of rows at which a block can start
_BOOTSTRAP_SEED = 20130101
_STEPS = 4  # size classes between one power of two and the next


class BlockBootstrap:
    """Draws windows of one size, and references; the draws are the same in every process."""

    def __init__(self, rows: int, window: int, reference: int = 0) -> None:
        """Draw windows of `window` rows from `rows` rows.

        `reference` is the size of the whole reference, if the drawn rows are only a part of it. The
        attribute `windows` is the number of drawn windows per drawn reference.
        """
        generator = np.random.default_rng(_BOOTSTRAP_SEED)
        self._size = max(1, min(window // _WINDOW_BLOCKS, rows // _REFERENCE_BLOCKS))
        self._rows = rows
        self.window = window
        self._starts = np.sort(generator.permutation(rows)[:_STARTS])
        reference = reference or rows
        self.windows = _WINDOWS_OF_LARGE if reference >= _LARGE * window else _WINDOWS
        self._windows = self._draw(generator, DRAWS, -(-window // self._size))
        blocks = min(-(-reference // self._size), _MAX_BLOCKS)
        self._references = self._draw(generator, DRAWS // self.windows, blocks)

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Return the sums of `values` [rows, k] over each drawn window and each drawn reference.

        The shapes are [DRAWS, k] and [DRAWS / windows, k]. Windows of the same drawn reference are
        consecutive.
        """
        blocks = self._block_sums(values)
        return self._windows @ blocks, self._references @ blocks

    def rows(self, draw: int) -> tuple[Array, Array]:
        """Return the row numbers of one drawn window and of its drawn reference."""
        reference = self._references[draw // self.windows]
        return self._row_numbers(self._windows[draw]), self._row_numbers(reference)

    def _block_sums(self, values: Array) -> Array:
        wrapped = np.concatenate([values, values[: self._size]]).astype(np.float64)
        cumulated = np.concatenate([np.zeros((1, wrapped.shape[1])), np.cumsum(wrapped, axis=0)])
        sums: Array = cumulated[self._starts + self._size] - cumulated[self._starts]
        return sums

    def _draw(self, generator: np.random.Generator, draws: int, blocks: int) -> Any:
        """Return the count of each block in each draw [draws, blocks]."""
        starts = len(self._starts)
        if blocks >= starts:  # most blocks are in most draws
            return csr_matrix(generator.multinomial(blocks, np.full(starts, 1 / starts), draws))
        chosen = generator.integers(0, starts, size=draws * blocks)
        drawn = np.repeat(np.arange(draws), blocks)
        return csr_matrix((np.ones(len(chosen)), (drawn, chosen)), shape=(draws, starts))

    def _row_numbers(self, blocks: Any) -> Array:
        starts = np.repeat(self._starts[blocks.indices], blocks.data.astype(int))
        steps = np.arange(self._size)
        places: Array = ((starts[:, None] + steps) % self._rows).ravel()
        return places


def size_class(rows: int) -> int:
    """Return the greatest calibrated window size up to `rows`; smaller windows are noisier."""
    steps = int(_STEPS * np.log2(max(rows, MIN_VALUES)) + 1e-9)
    return int(2 ** (steps / _STEPS) + 1e-9)


class NullDistribution(msgspec.Struct, frozen=True):
    """One statistic's values on drawn windows without drift; greater values are more drift."""

    values: Array  # [DRAWS]
    floor: float  # differences below this floor are no drift
    strong: float = 0.0  # floor for breaking the rule by this statistic alone
    shared: bool = False  # whether its column counts for the drifted share
    fixed: float | None = None  # limit that the user fixed


class PastWindows(NamedTuple):
    """The statistics of a reference's past windows."""

    values: dict[str, Array]  # "drift COLUMN" or "missing COLUMN" -> values [windows]
    sizes: list[int]  # number of rows of each window
    places: Sequence[Array]  # row numbers of the windows; empty if not all rows are available

    @classmethod
    def joined(cls, parts: Sequence["PastWindows"]) -> "PastWindows":
        """Join the windows of several references; a missing statistic counts as no drift."""
        names = sorted({name for part in parts for name in part.values})
        values = {
            name: np.concatenate(
                [part.values.get(name, np.zeros(len(part.sizes))) for part in parts]
            )
            for name in names
        }
        return cls(values, [size for part in parts for size in part.sizes], ())


# Floor for a single column that breaks the rule by itself, as a multiple of the practical floor.
STRONG_FACTOR = 2.5
DEFAULTS = {"numeric": "wasserstein", "categorical": "jensenshannon"}
_SMALLEST_P = 1e-300
_P_VALUE = 0.05  # largest threshold of a p-value, which is Evidently's default
_SLOW = frozenset({"ed", "anderson", *UNFIT_METHODS})  # methods that are not calibrated
_EVIDENTLY_DRAWS = 200  # number of drawn windows for methods that Evidently computes
_ROWS = 50_000  # maximum reference rows that are used for calibration
_PIECES = 50  # pieces of neighbouring rows that are selected from a larger reference
_TAIL_SEED = 20130103


class NullSampler:
    """Computes null distributions of one baseline's drift statistics, for any window size."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the baseline; columns that are withheld or not monitored are left out."""
        hidden = unmonitored(baseline.manifest)
        stored = set(baseline.frame.columns) - set(hidden)
        self.columns = [column for column in baseline.columns if column.stored in stored]
        self.features = {feature.name for feature in baseline.features} & stored
        self._policy = baseline.manifest.monitoring
        self._rows = len(baseline.frame)
        self.frame = _thinned(baseline.frame)
        self.values = {
            column.name: DriftValues(
                column, baseline.frame[column.stored], self.frame[column.stored]
            )
            for column in self.columns
        }

    def method(self, column: Column) -> str:
        """Return Evidently's name of the column's method, from the manifest or the default."""
        return self._policy.drift_methods.get(column.name, DEFAULTS[column.kind])

    def resampling(self, window: int) -> BlockBootstrap:
        """Return the bootstrap for windows of `window` rows."""
        return BlockBootstrap(len(self.frame), window, self._rows)

    def drift(self, resampling: BlockBootstrap) -> Iterator[tuple[str, NullDistribution]]:
        """Yield the null distribution of each column's drift, as far as it can be computed."""
        for column in self.columns:
            values = self._drawn_statistics(column, resampling)
            if values is not None:
                yield column.name, self._null_distribution(column, values)

    def missing(self, resampling: BlockBootstrap) -> Iterator[tuple[str, NullDistribution]]:
        """Yield the null distribution of the change of each feature's share of missing values."""
        floor = self._policy.alarms.smallest_drift
        for column in self.columns:
            if column.name in self.features:
                absent = self.values[column.name].retained.isna().to_numpy(dtype=float)
                counted = np.column_stack([absent, np.ones(len(absent))])
                shares = [sums[:, 0] / sums[:, 1] for sums in resampling.sums(counted)]
                changes = np.abs(shares[0] - np.repeat(shares[1], resampling.windows))
                yield column.name, NullDistribution(changes, floor, floor)

    @property
    def is_whole(self) -> bool:
        """Whether `frame` contains every row of the reference."""
        return len(self.frame) == self._rows

    def past_windows(self, places: Sequence[Array], *, left_out: bool = False) -> "PastWindows":
        """Return the statistics of the reference's past windows, whose row numbers are `places`.

        Each window is compared with the whole reference, or with the rows of all other windows if
        `left_out`. Pooled columns, and columns for which the user has fixed a limit or a method,
        are omitted.
        """
        statistics: dict[str, Array] = {}
        if not len(places):
            return PastWindows(statistics, [], ())
        sizes = np.array([len(rows) for rows in places])
        for column in self.columns:
            values, policy = self.values[column.name], self._policy
            if column.name in self.features:
                absent = values.retained.isna().to_numpy(dtype=float)
                missing_here = np.array([absent[rows].sum() for rows in places])
                missing_elsewhere = np.full(len(places), absent.sum()) - missing_here * left_out
                others = len(absent) - sizes * left_out
                statistics[f"missing {column.name}"] = np.abs(
                    missing_here / sizes - missing_elsewhere / others
                )
            declared = {**policy.drift_methods, **policy.drift_thresholds}
            if column.name in declared or values.pooled or not values.retained.notna().any():
                continue
            counts = self._bins[column.name].one_hot()
            windows = np.stack([counts[rows].sum(axis=0) for rows in places])
            others_counts = counts.sum(axis=0, keepdims=True) - windows * left_out
            statistics[f"drift {column.name}"] = self._bins[column.name].distance(
                windows, np.broadcast_to(others_counts, windows.shape)
            )
        return PastWindows(statistics, sizes.tolist(), () if left_out else places)

    @cached_property
    def known(self) -> dict[str, float]:
        """The share of present values in the reference, keyed by column."""
        return {name: float(values.retained.notna().mean()) for name, values in self.values.items()}

    @cached_property
    def _bins(self) -> dict[str, BinnedColumn]:
        return {c.name: BinnedColumn(self._drawn(c), c) for c in self.columns}

    def _drawn(self, column: Column) -> "pd.Series[Any]":
        """Return the column's values from which windows and references are drawn."""
        values = self.values[column.name]
        return values.expected if values.pooled else values.retained

    def _drawn_statistics(self, column: Column, resampling: BlockBootstrap) -> Array | None:
        drawn = self._drawn(column)
        if drawn.count() < MIN_VALUES or self.values[column.name].reason:
            return None
        if self.values[column.name].pooled:  # windows are compared with half of the reference
            resampling = BlockBootstrap(len(drawn), resampling.window)
        if self.method(column) != DEFAULTS[column.kind]:
            return self._by_evidently(column, resampling)
        windows, references = resampling.sums(self._bins[column.name].one_hot())
        return self._bins[column.name].distance(
            windows, np.repeat(references, resampling.windows, axis=0)
        )

    def _by_evidently(self, column: Column, resampling: BlockBootstrap) -> Array | None:
        """Return drawn values of Evidently's method; None if they cannot be computed."""
        method, values = self.method(column), self._drawn(column)
        if method in _SLOW:
            return None
        categorical = column.kind == "categorical"
        drawn: list[float] = []
        for draw in range(0, DRAWS, DRAWS // _EVIDENTLY_DRAWS):
            window, reference = (values.iloc[rows].dropna() for rows in resampling.rows(draw))
            try:
                outcome = measure(method, reference, window, categorical=categorical)
            except Exception:  # noqa: BLE001 - the method cannot handle the column's values
                return None
            drawn.append(drift_statistic(method, outcome.value))
        return Tail(np.array(drawn)).draw(np.random.default_rng(_TAIL_SEED), DRAWS)

    def _null_distribution(self, column: Column, values: Array) -> NullDistribution:
        method, smallest = self.method(column), self._policy.alarms.smallest_drift
        floor, strong = (
            (drift_statistic(method, _P_VALUE),) * 2
            if method in P_VALUES
            else (smallest, STRONG_FACTOR * smallest)
        )
        threshold = self._policy.drift_thresholds.get(column.name)
        return NullDistribution(
            values,
            floor,
            strong,
            shared=column.name in self.features,
            fixed=None if threshold is None else drift_statistic(method, threshold),
        )


def drift_statistic(method: str, value: float) -> float:
    """Convert a method's value so that a greater value is more drift: p-values to -ln(p)."""
    if method not in P_VALUES:
        return value
    return -log(max(value, _SMALLEST_P))


def method_value(method: str, value: float) -> float:
    """Convert a statistic back to the method's value."""
    return exp(-value) if method in P_VALUES else value


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= _ROWS:
        return frame
    size = _ROWS // _PIECES
    starts = np.linspace(0, len(frame) - size, _PIECES).astype(int)
    return frame.iloc[(starts[:, None] + np.arange(size)).ravel()]
