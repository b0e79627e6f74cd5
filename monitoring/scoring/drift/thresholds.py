"""Calibrated thresholds of every column and of the whole window, for each window size.

The scoring process calibrates when the first window of a size arrives, because registration knows
neither the number of rows nor later policies. Calibration takes about a second. It depends only on
the reference and the policy, so every process computes the same thresholds.
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

    drifted: dict[str, float]  # column -> threshold of its drift, in the unit of its method
    alone: dict[str, float]  # column -> threshold from which its drift breaks the rule by itself
    missing: dict[str, float]  # feature -> threshold of the change of its missing share
    joint: Array  # threshold of each measure of `JointDrift`; empty if there are no measures
    met: bool  # False if limits that the user fixed exceed the false-alarm budget
    seasonal: bool = False  # whether thresholds are widened because the reference itself varies


class ChanceLimits(msgspec.Struct, frozen=True):
    """Limits for windows of one size, not widened for a season or trend of the reference."""

    limits: DriftLimits
    joint: Array  # limit of each measure of `JointDrift`
    shared: dict[str, bool]  # statistic -> whether its column counts for the drifted share
    joint_possible: bool  # whether correlations can be compared


class Past(Protocol):
    """The past windows of a reference."""

    def of(self, sampler: NullSampler) -> PastWindows:
        """Return the past windows' statistics; `sampler` belongs to the calibrated reference."""
        ...


class ColumnThresholds(msgspec.Struct, frozen=True):
    """Thresholds of one column in one window."""

    drifted: float | None  # threshold of its drift; None for Evidently's default
    alone: float | None  # threshold from which it breaks the rule by itself; None if it cannot


class DriftThresholds:
    """Calibrates thresholds that meet a version's false-alarm budget on its reference."""

    def __init__(self, baseline: Baseline, past: Past | None = None) -> None:
        """Set the reference; nothing is drawn before the first window.

        Without `past`, runs of neighbouring rows of the reference are its past windows.
        """
        self._manifest = baseline.manifest
        self._drawing = NullSampler(baseline)
        self._past = past
        self._sized = cache(self._calibrate)
        self._chances = cache(self._chance)

    def values(self, column: Column) -> DriftValues:
        """Return the conversion of a monitored column's values."""
        return self._drawing.values[column.name]

    def method(self, column: Column) -> str:
        """Return Evidently's name of the column's method, from the manifest or the default."""
        return self._drawing.method(column)

    def of(self, rows: int) -> WindowThresholds:
        """Return the thresholds for a window with this number of rows."""
        return self._sized(size_class(rows))

    def threshold(self, column: Column, rows: int) -> float | None:
        """Return a column's threshold; None if Evidently's default of its method applies."""
        threshold = self._manifest.monitoring.drift_thresholds.get(column.name)
        return self.of(rows).drifted.get(column.name) if threshold is None else threshold

    def of_column(self, column: Column, rows: int, valid: int) -> ColumnThresholds:
        """Return the thresholds of a column that has `valid` present values in `rows` rows.

        If the column has fewer values than the reference's missing share predicts, its statistic is
        noisier. The thresholds are then multiplied by the square root of the ratio.
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
    def joint_drift(self) -> JointDrift:
        """The comparison of the logged features' correlations."""
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
        past_changes = None
        if past.places and chance.joint_possible:
            windows = [
                self.joint_drift.of_window(drawing.frame.iloc[places]) for places in past.places
            ]
            past_changes = np.abs(np.stack(windows) - self.joint_drift.of_reference)
            joint_broken = (past_changes >= sized.joint).any(axis=1)
            broken = broken | joint_broken if len(joint_broken) == len(broken) else broken
        seasonal = has_seasons(broken, level(self._manifest)) or (
            past_changes is not None and has_seasons(joint_broken, level(self._manifest))
        )
        if seasonal:
            limits = widened(limits, values)
            joint = joint if past_changes is None else raised(joint, past_changes.max(axis=0))
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
        """Return the statistics of the reference's past windows; empty if there are too few."""
        drawing = self._drawing
        if self._past is None:
            return drawing.past_windows(neighbouring_rows(len(drawing.frame), rows))
        past = self._past.of(drawing)
        return past if len(past.sizes) >= LEAST_WINDOWS else PastWindows({}, [], ())

    def _chance(self, rows: int) -> ChanceLimits:
        """Return the limits for windows of one size, not widened for seasons or trends."""
        alarms, drawing = self._manifest.monitoring.alarms, self._drawing
        resampling = drawing.resampling(rows)
        floor = STRONG_FACTOR * alarms.smallest_drift
        changes = np.abs(self.joint_drift.drawn(resampling)) if self.joint_drift.possible else None
        usual = np.zeros(0) if changes is None else self.joint_drift.usual(changes)
        distributions = {f"drift {n}": d for n, d in drawing.drift(resampling)}
        distributions |= {f"missing {n}": d for n, d in drawing.missing(resampling)}
        limits = calibrate(
            distributions,
            None if changes is None else _joint(changes, usual, floor),
            share=alarms.drifted_share,
            level=level(self._manifest),
            windows=resampling.windows,
            consecutive=alarms.consecutive,
        )
        return ChanceLimits(
            limits,
            np.maximum(limits.joint * usual, floor),
            {name: distribution.shared for name, distribution in distributions.items()},
            changes is not None,
        )


def _joint(changes: Array, usual: Array, floor: float) -> NullDistribution:
    """Return each draw's greatest change, in units of the usual change of its measure.

    Changes below the floor are ignored.
    """
    counted = np.where((changes >= floor) & (usual > 0), changes, 0.0)
    scaled = np.divide(counted, usual, out=np.zeros_like(counted), where=usual > 0)
    return NullDistribution(scaled.max(axis=1), 0.0)
