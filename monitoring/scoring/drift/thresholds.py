"""Hold the calibrated thresholds of every column and of the whole window, by window size.

Calibration happens in the scoring process when the first window of a size arrives: at registration
neither the number of rows nor later policies are known. It takes about a second and depends on the
reference alone, so every process computes the same thresholds.
"""

from functools import cache, cached_property
from typing import Protocol

import msgspec
import numpy as np

from monitoring.alarms.budget import level
from monitoring.scoring.drift.calibration import DriftLimits, calibrate
from monitoring.scoring.drift.drift_values import DriftValues
from monitoring.scoring.drift.evidently_adapter import P_VALUES
from monitoring.scoring.drift.joint import JointDrift
from monitoring.scoring.drift.null_distribution import (
    STRONG_FACTOR,
    NullDistribution,
    NullSampler,
    PastWindows,
    method_value,
    size_class,
)
from monitoring.scoring.drift.seasons import (
    LEAST_WINDOWS,
    broken_windows,
    has_seasons,
    neighbouring_rows,
    raised,
    widened,
)
from monitoring.scoring.reference import Baseline, Column
from monitoring.scoring.score_rules import Array


class WindowThresholds(msgspec.Struct, frozen=True):
    """Thresholds for windows of one size."""

    drifted: dict[str, float]  # keyed by column: limit in the unit of its method
    alone: dict[str, float]  # keyed by column: limit for an alarm of this column alone
    missing: dict[str, float]  # keyed by feature: limit for the change of the missing share
    joint: Array  # by measure of `JointDrift`; empty if there is none
    met: bool  # whether the budget can be kept: the user's own thresholds may exceed it
    seasonal: bool = False  # whether thresholds are widened for what the reference itself varies


class ChanceLimits(msgspec.Struct, frozen=True):
    """Limits for windows of one size by chance alone, whatever the reference's own windows show."""

    limits: DriftLimits
    joint: Array  # by measure of `JointDrift`
    shared: dict[str, bool]  # keyed by statistic: whether its column's share is judged
    joint_possible: bool


class Past(Protocol):
    """The windows of a reference's past."""

    def of(self, sampler: NullSampler) -> PastWindows:
        """Return their statistics, for the sampler of the reference that is calibrated."""
        ...


class ColumnThresholds(msgspec.Struct, frozen=True):
    """Thresholds of one column in one window; None: Evidently's default, or none."""

    drifted: float | None
    alone: float | None


class DriftThresholds:
    """Calibrate thresholds on one version's reference to its false-alarm budget."""

    def __init__(self, baseline: Baseline, past: Past | None = None) -> None:
        """Nothing is drawn before the first window.

        Without `past`, windows of the past are neighbouring rows of the reference.
        """
        self._manifest = baseline.manifest
        self._drawing = NullSampler(baseline)
        self._past = past
        self._sized = cache(self._calibrate)
        self._chances = cache(self._chance)

    def values(self, column: Column) -> DriftValues:
        """Return the transformation of a column's values, for a column that is monitored."""
        return self._drawing.values[column.name]

    def method(self, column: Column) -> str:
        """Return Evidently's name of the method: the manifest's, or the default for the kind."""
        return self._drawing.method(column)

    def of(self, rows: int) -> WindowThresholds:
        """Return the thresholds for a window of so many rows."""
        return self._sized(size_class(rows))

    def threshold(self, column: Column, rows: int) -> float | None:
        """Return the threshold of a column; None: Evidently's default for the manifest's method."""
        threshold = self._manifest.monitoring.drift_thresholds.get(column.name)
        return self.of(rows).drifted.get(column.name) if threshold is None else threshold

    def of_column(self, column: Column, rows: int, valid: int) -> ColumnThresholds:
        """Return the thresholds of a column that has `valid` values among `rows`.

        With fewer values than the reference's missing share predicts, the statistic is noisier, and
        the thresholds grow by the root of that ratio.
        """
        drifted, alone = self.threshold(column, rows), self.of(rows).alone.get(column.name)
        expected = rows * self._drawing.known[column.name]
        if self.method(column) in P_VALUES or valid >= expected:
            return ColumnThresholds(drifted, alone)
        noisier = float(np.sqrt(expected / valid))
        declared = column.name in self._manifest.monitoring.drift_thresholds
        return ColumnThresholds(
            drifted if declared or drifted is None else round(drifted * noisier, 6),
            None if alone is None else round(alone * noisier, 6),
        )

    @cached_property
    def together(self) -> JointDrift:
        """The correlations of the logged features."""
        columns = [c for c in self._drawing.columns if c.name in self._drawing.features]
        return JointDrift(self._drawing.frame, columns)

    def _calibrate(self, rows: int) -> WindowThresholds:
        alarms, drawing = self._manifest.monitoring.alarms, self._drawing
        chance = self._chances(rows)
        limits, joint = chance.limits, chance.joint
        past = self._past_windows(rows)
        sized = chance if not past.sizes else self._chances(size_class(int(np.median(past.sizes))))
        values = {
            name: statistic for name, statistic in past.values.items() if name in chance.shared
        }
        broken = broken_windows(sized.limits, values, chance.shared, alarms.drifted_share)
        most = None
        if past.places and chance.joint_possible:
            windows = [
                self.together.of_window(drawing.frame.iloc[places]) for places in past.places
            ]
            most = np.abs(np.stack(windows) - self.together.of_reference)
            together = (most >= sized.joint).any(axis=1)
            broken = broken | together if len(together) == len(broken) else broken
        seasonal = has_seasons(broken, level(self._manifest)) or (
            most is not None and has_seasons(together, level(self._manifest))
        )
        if seasonal:
            limits = widened(limits, values)
            joint = joint if most is None else raised(joint, most.max(axis=0))
        methods = {column.name: drawing.method(column) for column in drawing.columns}
        drift, missing = (
            [name.removeprefix(kind) for name in chance.shared if name.startswith(kind)]
            for kind in ("drift ", "missing ")
        )
        return WindowThresholds(
            {n: method_value(methods[n], limits.drifted[f"drift {n}"]) for n in drift},
            {n: method_value(methods[n], limits.alone[f"drift {n}"]) for n in drift},
            {n: limits.alone[f"missing {n}"] for n in missing},
            joint,
            limits.met,
            seasonal,
        )

    def _past_windows(self, rows: int) -> PastWindows:
        """Return the statistics of the reference's own windows; none if it has too few."""
        drawing = self._drawing
        if self._past is None:
            return drawing.past_windows(neighbouring_rows(len(drawing.frame), rows))
        past = self._past.of(drawing)
        return past if len(past.sizes) >= LEAST_WINDOWS else PastWindows({}, [], ())

    def _chance(self, rows: int) -> ChanceLimits:
        """Return the limits by chance alone for windows of one size."""
        alarms, drawing = self._manifest.monitoring.alarms, self._drawing
        resampling = drawing.resampling(rows)
        floor = STRONG_FACTOR * alarms.smallest_drift
        apart = np.abs(self.together.drawn(resampling)) if self.together.possible else None
        usual = np.zeros(0) if apart is None else self.together.usual(apart)
        distributions = {f"drift {n}": d for n, d in drawing.drift(resampling)}
        distributions |= {f"missing {n}": d for n, d in drawing.missing(resampling)}
        limits = calibrate(
            distributions,
            None if apart is None else _joint(apart, usual, floor),
            share=alarms.drifted_share,
            level=level(self._manifest),
            windows=resampling.windows,
            consecutive=alarms.consecutive,
        )
        return ChanceLimits(
            limits,
            np.maximum(limits.joint * usual, floor),
            {name: distribution.shared for name, distribution in distributions.items()},
            apart is not None,
        )


def _joint(apart: Array, usual: Array, floor: float) -> NullDistribution:
    """Return the greatest change of any measure, in usual changes; the floor's are left out."""
    counted = np.where((apart >= floor) & (usual > 0), apart, 0.0)
    scaled = np.divide(counted, usual, out=np.zeros_like(counted), where=usual > 0)
    return NullDistribution(scaled.max(axis=1), 0.0)
