"""Score performance: measured where the label is known, estimated everywhere."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import sqrt
from statistics import NormalDist

import msgspec
import numpy as np
import pandas as pd

from monitoring.alarms.budget import label_level, level
from monitoring.counters.plain_values import number
from monitoring.counters.window_counters import ConfusionMatrix, ErrorSums, LabelCounters
from monitoring.presenter.formats import figure
from monitoring.results import ESTIMATED, GAP, Score
from monitoring.scoring.performance.estimate_gap import EstimateGaps
from monitoring.scoring.performance.estimator import PerformanceEstimator, Spread
from monitoring.scoring.performance.metrics import (
    ERRORS,
    LabelledRows,
    Metrics,
    classification,
    jackknife_intervals,
    labelled_rows,
    regression,
    rounded,
)
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES, attempt
from monitoring.significant_digits import significant

Interval = tuple[float, float]


class MeasuredMetrics(msgspec.Struct, frozen=True):
    """Metrics of `rows` labelled rows, and the intervals of those that have one."""

    rows: int
    figures: Metrics = {}
    around: Mapping[str, Interval] = {}


def metrics_from_counters(
    baseline: Baseline, answers: LabelCounters, sample: MeasuredMetrics
) -> MeasuredMetrics:
    """Compute the metrics that need counts only, from the counters of all labelled rows.

    Their intervals are those of the sampled rows, scaled by the root of sampled / all rows.
    """
    regression = baseline.manifest.task == "regression"
    rows = answers.errors.rows if regression else answers.confusion.rows
    if rows < MIN_VALUES:
        return MeasuredMetrics(rows)
    figures = _of_errors(answers.errors) if regression else _of_classes(baseline, answers.confusion)
    narrower = sqrt(sample.rows / rows)
    around: dict[str, Interval] = {}
    for name, (low, high) in sample.around.items():
        if (value := figures.get(name)) is not None:
            half = narrower * (high - low) / 2
            around[name] = value - half, value + half
    return MeasuredMetrics(rows, figures, around)


def _of_classes(baseline: Baseline, confusion: ConfusionMatrix) -> Metrics:
    """Apply the formulas of rows; each cell is one row weighted by its count."""
    if confusion.crowded:
        return {"accuracy": rounded(confusion.hits / confusion.rows)}
    known = dict(baseline.classes)
    cells = [
        (known.setdefault(true, len(known)), known.setdefault(predicted, len(known)), rows)
        for true, row in confusion.cells.items()
        for predicted, rows in row.items()
    ]
    actual, predicted, weights = np.array(cells, dtype=np.int64).T
    return classification(LabelledRows(actual, predicted, {}, baseline.positive_class, weights))


def _of_errors(errors: ErrorSums) -> Metrics:
    if errors.undefined:
        return {}  # where one error is no number, neither is their mean
    return {
        "mae": rounded(errors.absolute.mean(errors.rows)),
        "rmse": rounded(sqrt(errors.squares.mean(errors.rows))),
        "bias": rounded(errors.errors.mean(errors.rows)),
    }


_UNDEFINED = {"roc_auc": "not defined: all labels are of one class"}
BAND_WIDTH = 2.0  # times the usual error, around an estimate


class PerformanceScorer:
    """Score the performance of one version's windows."""

    def __init__(self, baseline: Baseline) -> None:
        """Metrics are compared with those of the reference."""
        self._baseline = baseline
        self.estimator = PerformanceEstimator(baseline)
        self._regression = baseline.manifest.task == "regression"
        policy = baseline.manifest.monitoring.alarms
        self.primary = policy.score or ("mae" if self._regression else "roc_auc")
        self._limit = policy.min_score
        self.figures: Callable[[LabelledRows], Metrics] = (
            regression if self._regression else classification
        )
        self._gaps = EstimateGaps(baseline, self.estimator, self.figures, self.primary)
        allowed = {"label": label_level(baseline.manifest), "estimate": level(baseline.manifest)}
        self._beyond = {of: NormalDist().inv_cdf(1 - chance) for of, chance in allowed.items()}
        self._expected: Metrics | None = None

    def score(
        self, window: pd.DataFrame, *, bands: bool = True, answers: LabelCounters | None = None
    ) -> list[Score]:
        """Score every metric, measured and estimated; the policy's metric carries the threshold.

        Without `bands`, which take most of the time, measured metrics have no interval. `answers`
        counts all rows of the window; None: `window` holds all rows.
        """
        return [
            *attempt(
                self.primary, lambda: self._realised(self.labelled(window), answers, bands=bands)
            ),
            *attempt(ESTIMATED + self.primary, lambda: self._estimated(window)),
            *attempt(GAP, lambda: self._gaps.score(self.labelled(window))),
        ]

    def labelled(self, window: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with a usable label; the index is their row number in the window."""
        label = self._baseline.own.label
        labels = window[label]
        if self._regression:  # ignore labels that are not numbers
            labels = labels.map(number)
        return window.assign(**{label: labels})[labels.notna()]

    def _realised(
        self, labelled: pd.DataFrame, answers: LabelCounters | None, *, bands: bool
    ) -> list[Score]:
        sample = self._of_rows(labelled, bands=bands)
        found = [sample]
        if answers is not None:
            found.append(metrics_from_counters(self._baseline, answers, sample))
        most, by_name = max(part.rows for part in found), dict[str, Score]()
        for part in found:
            of = "" if part.rows == most else f"; of {part.rows:,} of {most:,} labels"
            for name, value in part.figures.items():
                note = _beside(self._of_reference().get(name)) + of
                by_name[name] = self._compared(name, value, part.around.get(name), note, part.rows)
        if self.primary not in by_name:
            note = f"{sample.rows} labels are known, at least {MIN_VALUES} are needed"
            by_name = {self.primary: Score(name=self.primary, value=None, note=note)} | by_name
        return list(by_name.values())

    def _of_rows(self, labelled: pd.DataFrame, *, bands: bool) -> MeasuredMetrics:
        if len(labelled) < MIN_VALUES:
            return MeasuredMetrics(len(labelled))
        rows = labelled_rows(self._baseline, labelled, self._baseline.own.label)
        figures = self.figures(rows)
        around = jackknife_intervals(rows, self.figures, figures) if bands else {}
        return MeasuredMetrics(len(labelled), figures, around)

    def _estimated(self, window: pd.DataFrame) -> list[Score]:
        if not self.estimator.possible or len(window) < MIN_VALUES:
            return []
        if reason := self.estimator.withheld(window):
            return [Score(name=ESTIMATED + self.primary, value=None, note=reason)]
        found: list[Score] = []
        bounds = self.estimator.bounds(window)
        for name, value in self.estimator.figures(window).items():
            usual = self.estimator.spread(name, len(window))
            if value is not None and usual is not None:
                ends = [value, *(end for one in bounds if (end := one.get(name)) is not None)]
                band = (min(ends) - BAND_WIDTH * usual, max(ends) + BAND_WIDTH * usual)
                note = _beside(self._of_reference().get(name))
                score = self._compared(ESTIMATED + name, value, band, note, len(window))
                found.append(_extrapolated(score, ends) if bounds else score)
        return found

    def _compared(
        self,
        name: str,
        value: float | None,
        band: tuple[float, float] | None,
        note: str,
        rows: int,
    ) -> Score:
        measured = name.removeprefix(ESTIMATED)
        of: Spread = "label" if measured == name else "estimate"
        limit = self._allowed(rows, of) if measured == self.primary else None
        breached = False
        if limit is not None and value is not None:
            breached = value > limit if measured in ERRORS else value < limit
        if limit != self._limit and measured == self.primary:
            note += f"; the limit {self._limit:g} is wider by what chance does in so few rows"
        low, high = band or (None, None)
        return Score(
            name=name,
            value=value,
            threshold=limit,
            breached=breached,
            low=None if low is None else significant(low),
            high=None if high is None else significant(high),
            note=_UNDEFINED.get(measured, "not defined for these labels")
            if value is None
            else note,
        )

    def _allowed(self, rows: int, of: Spread) -> float | None:
        """Return the policy's limit, or a wider one.

        It is wider where windows as good as the reference would breach it by chance more often than
        the false-alarm budget allows.
        """
        known = self._of_reference() if of == "label" else self._estimated_of_reference
        expected, usual = known.get(self.primary), self.estimator.spread(self.primary, rows, of)
        if self._limit is None or expected is None or usual is None:
            return self._limit
        # The reference is a sample too.
        error = self._beyond[of] * usual * (1 + rows / len(self._baseline.frame)) ** 0.5
        if self.primary in ERRORS:
            return max(self._limit, significant(expected + error, 6))
        return min(self._limit, significant(expected - error, 6))

    @cached_property
    def _estimated_of_reference(self) -> Metrics:
        return self.estimator.figures(self._baseline.frame)

    def _of_reference(self) -> Metrics:
        if self._expected is None:
            target = self._baseline.manifest.target
            self._expected = self.figures(
                labelled_rows(self._baseline, self._baseline.frame, target)
            )
        return self._expected


def _extrapolated(score: Score, ends: Sequence[float]) -> Score:
    """Judge an estimate by the best that its extrapolated rows may be, and say so."""
    breached = score.breached
    if score.threshold is not None:
        error = score.name.removeprefix(ESTIMATED) in ERRORS
        best = min(ends) if error else max(ends)
        breached &= best > score.threshold if error else best < score.threshold
    note = "; ".join(part for part in (score.note, "scores lie beyond the reference's") if part)
    return msgspec.structs.replace(score, breached=breached, note=note)


def _beside(expected: float | None) -> str:
    return "" if expected is None else f"reference {figure(expected)}"
