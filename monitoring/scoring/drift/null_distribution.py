"""Windows, and references, drawn from a reference: what chance alone does to a statistic.

Rows that follow each other in time are more alike than rows drawn one by one, so both are put
together from blocks of neighbouring rows (the reference keeps the order it was registered in).
Everything that is calibrated is a sum over rows (histograms, products, errors), so a window is
drawn by adding up sums that were made once per block.

The reference is a sample too. Drawing a reference anew beside every few windows lets a threshold
know how far a reference of this size may lie from what the model really meets.

What chance makes of every drift statistic: the statistics of windows drawn from the reference.

Statistics are such that more is more drift: distances as they are, p-values as -ln(p). The two
default methods are computed from counts in bins, all draws at once; other methods by Evidently
itself, on fewer draws, as if such a column had nothing in common with the others (which can only
make limits stricter than they need be).
"""

from collections.abc import Iterator
from functools import cached_property
from math import exp, log
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from monitoring.scoring.drift.evidently_adapter import P_VALUES, measure
from monitoring.scoring.drift.statistics import Bins
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.reference import Baseline, Column, clean
from monitoring.scoring.score_rules import SMALLEST, Array
from registry.payload import withheld
from registry.validation import UNFIT_METHODS

REFERENCES = 40
WINDOWS = 50  # beside each reference
DRAWS = REFERENCES * WINDOWS
_MAX_BLOCKS = 100_000  # blocks in a reference
_WINDOW_BLOCKS = 20  # in a window
_STARTS = 2_000  # places where a block may begin
_BOOTSTRAP_SEED = 20130101
_STEPS = 4  # size classes from one power of two to the next


class Resampling:
    """Draws for windows of one size from one reference; the same ones in every process."""

    def __init__(self, rows: int, window: int, reference: int = 0) -> None:
        """For windows of `window` rows, from the `rows` that are kept of `reference` rows."""
        chance = np.random.default_rng(_BOOTSTRAP_SEED)
        self._size = min(max(1, window // _WINDOW_BLOCKS), rows)
        self._rows = rows
        self._starts = np.sort(chance.permutation(rows)[:_STARTS])
        blocks = min(-(-(reference or rows) // self._size), _MAX_BLOCKS)
        self._windows = self._draw(chance, DRAWS, -(-window // self._size))
        self._references = self._draw(chance, REFERENCES, blocks)

    def sums(self, values: Array) -> tuple[Array, Array]:
        """Of `values` [rows, features] over each window [DRAWS, ..] and each reference.

        The windows of one reference follow each other.
        """
        blocks = self._of_blocks(values)
        return self._windows @ blocks, self._references @ blocks

    def rows(self, draw: int) -> tuple[Array, Array]:
        """The rows of one window and of its reference, by their places."""
        reference = self._references[draw // WINDOWS]
        return self._places(self._windows[draw]), self._places(reference)

    def _of_blocks(self, values: Array) -> Array:
        around = np.concatenate([values, values[: self._size]]).astype(np.float64)
        upto = np.concatenate([np.zeros((1, around.shape[1])), np.cumsum(around, axis=0)])
        sums: Array = upto[self._starts + self._size] - upto[self._starts]
        return sums

    def _draw(self, chance: np.random.Generator, draws: int, blocks: int) -> Any:
        chosen = chance.integers(0, len(self._starts), size=draws * blocks)
        drawn = np.repeat(np.arange(draws), blocks)
        shape = (draws, len(self._starts))
        return csr_matrix((np.ones(len(chosen)), (drawn, chosen)), shape=shape)

    def _places(self, blocks: Any) -> Array:
        starts = np.repeat(self._starts[blocks.indices], blocks.data.astype(int))
        steps = np.arange(self._size)
        places: Array = ((starts[:, None] + steps) % self._rows).ravel()
        return places


def size_class(rows: int) -> int:
    """The class's own size, at or below `rows`: the smaller window is the noisier one."""
    steps = int(_STEPS * np.log2(max(rows, SMALLEST)) + 1e-9)
    return int(2 ** (steps / _STEPS) + 1e-9)


class Drawn(msgspec.Struct, frozen=True):
    """One statistic on windows without drift, in the order of the draws; greater is more drift."""

    values: Array
    floor: float  # below it a difference does not matter
    strong: float = 0.0  # the same for a column by itself
    shared: bool = False  # whether it is one of the columns whose share is judged
    fixed: float | None = None  # the user's own limit


STRONG = 2.5  # times the practical floor: what one column has to move to raise an alarm by itself
DEFAULTS = {"numeric": "wasserstein", "categorical": "jensenshannon"}
_SMALLEST_P = 1e-300
_P_VALUE = 0.05  # as large as a p-value's threshold gets: Evidently's own default
_SLOW = frozenset({"ed", "anderson", *UNFIT_METHODS})
_APART = 200  # draws where Evidently computes
_ROWS = 50_000  # of the reference that are looked at
_PIECES = 50  # of neighbouring rows, where it is larger
_TAIL_SEED = 20130103


class Drawing:
    """Draws windows of any size from one baseline's reference."""

    def __init__(self, baseline: Baseline) -> None:
        """Columns that the payload policy withholds are left out."""
        hidden = withheld(baseline.manifest)
        stored = set(baseline.frame.columns) - set(hidden)
        self.columns = [column for column in baseline.columns if column.stored in stored]
        self.features = {feature.name for feature in baseline.features} & stored
        self._policy = baseline.manifest.monitoring
        self._rows = len(baseline.frame)
        self.frame = _thinned(baseline.frame)

    def method(self, column: Column) -> str:
        """Evidently's name of the method: the manifest's, or the default for the kind."""
        return self._policy.drift_methods.get(column.name, DEFAULTS[column.kind])

    def resampling(self, window: int) -> Resampling:
        """For windows of so many rows."""
        return Resampling(len(self.frame), window, self._rows)

    def drift(self, resampling: Resampling) -> Iterator[tuple[str, Drawn]]:
        """The drift statistic of every column for which chance can be drawn."""
        for column in self.columns:
            values = self._values(column, resampling)
            if values is not None:
                yield column.name, self._judged(column, values)

    def missing(self, resampling: Resampling) -> Iterator[tuple[str, Drawn]]:
        """By how much the share of missing values of every feature differs."""
        floor = self._policy.alarms.smallest_drift
        for column in self.columns:
            if column.name in self.features:
                absent = self._cleaned[column.name].isna().to_numpy(dtype=float)
                counted = np.column_stack([absent, np.ones(len(absent))])
                shares = [sums[:, 0] / sums[:, 1] for sums in resampling.sums(counted)]
                apart = np.abs(shares[0] - np.repeat(shares[1], WINDOWS))
                yield column.name, Drawn(apart, floor, floor)

    @cached_property
    def known(self) -> dict[str, float]:
        """The share of the reference's values that are not missing, by column."""
        return {str(name): float(share) for name, share in self._cleaned.notna().mean().items()}

    @cached_property
    def _cleaned(self) -> pd.DataFrame:
        return pd.DataFrame({c.name: clean(self.frame[c.stored], c) for c in self.columns})

    @cached_property
    def _bins(self) -> dict[str, Bins]:
        return {c.name: Bins(self._cleaned[c.name], c) for c in self.columns}

    def _values(self, column: Column, resampling: Resampling) -> Array | None:
        if self._cleaned[column.name].count() < SMALLEST:
            return None
        if self.method(column) != DEFAULTS[column.kind]:
            return self._apart(column, resampling)
        windows, references = resampling.sums(self._bins[column.name].one_hot())
        return self._bins[column.name].distance(windows, np.repeat(references, WINDOWS, axis=0))

    def _apart(self, column: Column, resampling: Resampling) -> Array | None:
        """By Evidently's method; None where it cannot be."""
        method, values = self.method(column), self._cleaned[column.name]
        if method in _SLOW:
            return None
        categorical = column.kind == "categorical"
        drawn: list[float] = []
        for draw in range(0, DRAWS, DRAWS // _APART):
            window, reference = (values.iloc[rows].dropna() for rows in resampling.rows(draw))
            try:
                told = measure(method, reference, window, categorical=categorical)
            except Exception:  # noqa: BLE001 - what one method cannot take, others can
                return None
            drawn.append(statistic(method, told.value))
        return Tail(np.array(drawn)).draw(np.random.default_rng(_TAIL_SEED), DRAWS)

    def _judged(self, column: Column, values: Array) -> Drawn:
        method, smallest = self.method(column), self._policy.alarms.smallest_drift
        floor, strong = (
            (statistic(method, _P_VALUE),) * 2
            if method in P_VALUES
            else (smallest, STRONG * smallest)
        )
        stated = self._policy.drift_thresholds.get(column.name)
        return Drawn(
            values,
            floor,
            strong,
            shared=column.name in self.features,
            fixed=None if stated is None else statistic(method, stated),
        )


def statistic(method: str, value: float) -> float:
    """A method's value such that more is more drift."""
    if method not in P_VALUES:
        return value
    return -log(max(value, _SMALLEST_P))


def value_of(method: str, told: float) -> float:
    """The method's value behind a statistic."""
    return exp(-told) if method in P_VALUES else told


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= _ROWS:
        return frame
    size = _ROWS // _PIECES
    starts = np.linspace(0, len(frame) - size, _PIECES).astype(int)
    return frame.iloc[(starts[:, None] + np.arange(size)).ravel()]
