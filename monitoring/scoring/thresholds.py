"""Everything that decides from where on a column counts as drifted lives here.

A statistic of a finite window is never 0, and the smaller the window the larger it is by chance. So
windows of the size at hand are drawn from the reference itself, and the threshold lies above what
they show: mean + 4 standard deviations. Measured on normal, lognormal and sparse columns at 64 and
512 rows, 0.1 to 0.8 % of calm windows lie above it (3 would be 1 to 2 %). It is never below a
practical floor: with thousands of rows the smallest difference is significant, but not important.

Rows that follow each other in time are more alike than rows drawn one by one, so a window is drawn
as blocks of neighbouring rows (the reference keeps the order it was registered in); a reference in
random order gives thresholds for windows without structure in time.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from monitoring.scoring.reference import Baseline, Column, category
from monitoring.scoring.statistics import Array, jensenshannon, wasserstein

FLOOR = 0.1  # Evidently's own default for both statistics
_DRAWS = 100
_BLOCKS = 20  # per window
_SPREADS = 4.0
_SEED = 20130101
SMALLEST = 30  # values; fewer say nothing

_DEFAULTS: dict[str, tuple[str, Callable[[Array, Array], float]]] = {
    "numeric": ("wasserstein", wasserstein),
    "categorical": ("jensenshannon", jensenshannon),
}


class Thresholds:
    """Method and threshold of every column, by the size of the window."""

    def __init__(self, baseline: Baseline) -> None:
        """Calibrate on the baseline's reference."""
        self._baseline = baseline
        self._calibrated = cache(self._calibrate)

    def method(self, column: Column) -> str:
        """Evidently's name of the method: the manifest's, or the default for the kind."""
        chosen = self._baseline.manifest.monitoring.drift_methods
        return chosen.get(column.name, _DEFAULTS[column.kind][0])

    def threshold(self, column: Column, rows: int) -> float | None:
        """For a window of so many rows; None: Evidently's default for the manifest's method."""
        monitoring = self._baseline.manifest.monitoring
        if column.name in monitoring.drift_thresholds:
            return monitoring.drift_thresholds[column.name]
        if self.method(column) != _DEFAULTS[column.kind][0]:
            return None
        return self._calibrated(column.stored, column.kind, size_class(rows))

    def _calibrate(self, stored: str, kind: str, rows: int) -> float:
        reference = _codes(self._baseline.frame[stored].dropna(), kind)
        if len(reference) < SMALLEST:
            return FLOOR
        statistic = _DEFAULTS[kind][1]
        drawn = [statistic(reference, part) for part in _windows(reference, rows)]
        return round(max(FLOOR, float(np.mean(drawn) + _SPREADS * np.std(drawn))), 6)


def size_class(rows: int) -> int:
    """The power of two at or below `rows`: the smaller window is the noisier one."""
    return 1 << max(rows, SMALLEST).bit_length() - 1


def _codes(values: "pd.Series[Any]", kind: str) -> Array:
    if kind == "numeric":
        numbers: Array = values.to_numpy(dtype=np.float64)
        return numbers[np.isfinite(numbers)]
    codes: Array = pd.factorize(values.map(category))[0]
    return codes


def _windows(reference: Array, rows: int) -> Iterator[Array]:
    chance = np.random.default_rng(_SEED)
    block = max(1, rows // _BLOCKS)
    steps = np.arange(block)
    for _ in range(_DRAWS):
        starts = chance.integers(0, len(reference), size=-(-rows // block))
        yield reference[((starts[:, None] + steps) % len(reference)).ravel()[:rows]]
