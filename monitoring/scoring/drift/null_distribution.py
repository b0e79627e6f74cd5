"""What chance makes of every drift statistic: the statistics of windows drawn from the reference.

Statistics are such that more is more drift: distances as they are, p-values as -ln(p). The two
default methods are computed from counts in bins, all draws at once; other methods by Evidently
itself, on fewer draws, as if such a column had nothing in common with the others (which can only
make limits stricter than they need be).
"""

from collections.abc import Iterator
from functools import cached_property
from math import exp, log

import numpy as np
import pandas as pd

from monitoring.scoring.drift.bins import Bins
from monitoring.scoring.drift.calibration import Drawn
from monitoring.scoring.drift.clean import clean
from monitoring.scoring.drift.evidently_adapter import P_VALUES, measure
from monitoring.scoring.drift.resampling import DRAWS, SMALLEST, WINDOWS, Resampling
from monitoring.scoring.drift.statistics import Array
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.reference import Baseline, Column
from registry.payload import withheld
from registry.validation import UNFIT_METHODS

STRONG = 2.5  # times the practical floor: what one column has to move to raise an alarm by itself
DEFAULTS = {"numeric": "wasserstein", "categorical": "jensenshannon"}
_SMALLEST_P = 1e-300
_P_VALUE = 0.05  # as large as a p-value's threshold gets: Evidently's own default
_SLOW = frozenset({"ed", "anderson", *UNFIT_METHODS})
_APART = 200  # draws where Evidently computes
_ROWS = 50_000  # of the reference that are looked at
_PIECES = 50  # of neighbouring rows, where it is larger
_SEED = 20130103


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
        return Tail(np.array(drawn)).draw(np.random.default_rng(_SEED), DRAWS)

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
