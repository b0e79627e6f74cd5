"""Compare measured performance with its estimate for the same rows.

A gap is the difference between a metric's expected and measured value. Two gaps are scored: the gap
of the policy's metric, and the gap of the plain error (accuracy, or mean absolute error). The
expected value is the estimate (`estimator.py`), so a change of the inputs alone causes no gap. If
there is no estimate, the expected value is the reference's value. `monitoring/alarms/evidence.py`
accumulates gaps over windows.
"""

from collections.abc import Callable
from functools import cache, cached_property

import pandas as pd

from monitoring.alarms.evidence import FAR, WIDTH
from monitoring.presenter.formats import figure
from monitoring.results import ERROR_GAP, GAP, Score
from monitoring.scoring.performance.estimator import PerformanceEstimator, Spread
from monitoring.scoring.performance.metrics import ERRORS, LabelledRows, Metrics, labelled_rows
from monitoring.scoring.performance.uncertainty_floor import smallest_spread
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES
from monitoring.significant_digits import significant

# Tolerated gap in standard errors of the reference, because the reference is itself a sample.
_TOLERATED = 2.0


class EstimateGaps:
    """Scores the gaps between one version's measured and expected performance."""

    def __init__(
        self,
        baseline: Baseline,
        estimator: PerformanceEstimator,
        figures: Callable[[LabelledRows], Metrics],
        primary: str,
    ) -> None:
        """`primary` is the policy's metric."""
        self._baseline = baseline
        self._estimator = estimator
        self._figures = figures
        plain = "mae" if baseline.manifest.task == "regression" else "accuracy"
        self._metric_by_gap = (
            {GAP: primary} if primary == plain else {GAP: primary, ERROR_GAP: plain}
        )
        self._of_reference = cache(self._reference)

    def score(self, labelled: pd.DataFrame) -> list[Score]:
        """Score both gaps; `labelled` has the labelled rows, with labels in a separate column."""
        if len(labelled) < MIN_VALUES:
            return []
        rows = labelled_rows(self._baseline, labelled, self._baseline.own.label)
        real = self._figures(rows)
        if self._estimator.possible and self._estimator.withheld(labelled):
            return []
        estimates = self._estimates(labelled, real) if self._estimator.possible else {}
        gaps = (
            self._gap(gap, name, real, estimates, rows) for gap, name in self._metric_by_gap.items()
        )
        return [gap for gap in gaps if gap is not None]

    def _estimates(self, labelled: pd.DataFrame, real: Metrics) -> Metrics:
        """Return the estimate of each metric.

        If rows are extrapolated, the estimate only has bounds. The result is then the value within
        the bounds that is nearest to the measured value.
        """
        estimates = self._estimator.figures(labelled)
        bounds = self._estimator.bounds(labelled)
        if not bounds:
            return estimates
        nearest: Metrics = {}
        for name, estimate in estimates.items():
            measured = real.get(name)
            ends = [
                metrics[name] for metrics in (estimates, *bounds) if metrics.get(name) is not None
            ]
            bounded = [end for end in ends if end is not None]
            within = estimate is not None and measured is not None and len(bounded) > 1
            nearest[name] = (
                min(max(measured or 0.0, min(bounded)), max(bounded)) if within else estimate
            )
        return nearest

    def _gap(
        self, gap: str, name: str, real: Metrics, estimates: Metrics, rows: LabelledRows
    ) -> Score | None:
        estimated = estimates.get(name) is not None
        measured, expected = (
            real.get(name),
            estimates.get(name) if estimated else self._of_reference(name),
        )
        kind: Spread = "error" if estimated else "label"
        window_error = self._estimator.spread(name, len(rows.actual), kind)
        reference_error = self._estimator.spread(name, len(self._baseline.frame), kind)
        if measured is None or expected is None or window_error is None or reference_error is None:
            return None
        reference = self._reference_rows
        window_error = max(window_error, smallest_spread(name, rows, reference))
        reference_error = max(reference_error, smallest_spread(name, reference, reference))
        worse = measured - expected if name in ERRORS else expected - measured
        limit = _TOLERATED * reference_error + FAR * window_error
        comparison = (
            f"expected {figure(expected)} from the inputs"
            if estimated
            else f"expected {figure(expected)} as in the reference"
        )
        return Score(
            name=gap,
            value=significant(worse),
            threshold=significant(limit),
            breached=worse > limit,
            low=significant(worse - WIDTH * window_error),
            high=significant(worse + WIDTH * window_error),
            note=f"{name} {figure(measured)}, {comparison}",
        )

    def _reference(self, name: str) -> float | None:
        return self._figures(self._reference_rows).get(name)

    @cached_property
    def _reference_rows(self) -> LabelledRows:
        target = self._baseline.manifest.target
        return labelled_rows(self._baseline, self._baseline.frame, target)
