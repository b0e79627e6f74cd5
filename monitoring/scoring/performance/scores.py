"""Score performance: measured on labelled rows, and estimated on all rows."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from monitoring.alarms.budget import label_level, level
from monitoring.counters.exact_sum import ExactSum
from monitoring.counters.plain_values import category, number
from monitoring.counters.window_counters import ConfusionMatrix, ErrorSums, LabelCounters
from monitoring.presenter.formats import figure
from monitoring.results import ESTIMATED, GAP, Score
from monitoring.scoring.feature_values import numbers_of
from monitoring.scoring.performance.estimate_gap import EstimateGaps
from monitoring.scoring.performance.estimator import PerformanceEstimator, Spread
from monitoring.scoring.performance.metric_ranges import clipped
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
from monitoring.scoring.score_rules import MIN_VALUES, Array, attempt
from monitoring.significant_digits import significant

Interval = tuple[float, float]


class MeasuredMetrics(msgspec.Struct, frozen=True):
    """Metrics of labelled rows, with their confidence intervals."""

    rows: int  # number of labelled rows
    figures: Metrics = {}  # name -> value
    intervals: Mapping[str, Interval] = {}  # name -> interval, if the metric has an interval
    effective: float = 0.0  # effective sample size: rows of weight 1 with the same precision


class ReviewedRows(NamedTuple):
    """Rows that are labelled only through the review queue, with the weights of their labels."""

    frame: pd.DataFrame
    weights: Array

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(self.weights.sum())


def metrics_from_counters(
    baseline: Baseline,
    answers: LabelCounters,
    sample: MeasuredMetrics,
    reviewed: ReviewedRows | None = None,
) -> MeasuredMetrics:
    """Compute the metrics that follow from the counters of all labelled rows.

    The width of an interval is its width for the sampled rows, multiplied by the square root of
    sampled rows / all rows.
    """
    regression = baseline.manifest.task == "regression"
    counted = answers.errors.rows if regression else answers.confusion.rows
    rows = counted + (0 if reviewed is None else len(reviewed.frame))
    if rows < MIN_VALUES:
        return MeasuredMetrics(rows)
    pairs = [] if reviewed is None else _pairs(baseline, reviewed)
    if regression:
        figures = _regression_metrics(answers.errors, pairs)
    else:
        figures = _classification_metrics(baseline, answers.confusion, pairs)
    effective = counted + (0.0 if reviewed is None else reviewed.total)
    narrower = sqrt(sample.effective / effective)
    intervals: dict[str, Interval] = {}
    for name, (low, high) in sample.intervals.items():
        if (value := figures.get(name)) is not None:
            half = narrower * (high - low) / 2
            intervals[name] = value - half, value + half
    return MeasuredMetrics(rows, figures, intervals, effective)


_WeightedPair = tuple[Any, Any, float]  # label, prediction, weight


def _pairs(baseline: Baseline, reviewed: ReviewedRows) -> list[_WeightedPair]:
    labels, predicted = reviewed.frame[baseline.own.label], reviewed.frame[baseline.own.prediction]
    return list(zip(labels, predicted, reviewed.weights.tolist(), strict=True))


def _classification_metrics(
    baseline: Baseline, confusion: ConfusionMatrix, pairs: Sequence[_WeightedPair]
) -> Metrics:
    """Compute metrics from a confusion matrix; each cell is a row, weighted by its count."""
    if confusion.crowded:
        hits = sum(
            weight for label, prediction, weight in pairs if category(label) == category(prediction)
        )
        rows = confusion.rows + sum(weight for *_, weight in pairs)
        return {"accuracy": rounded((confusion.hits + hits) / rows)}
    codes = dict(baseline.classes)
    cells: list[tuple[int, int, float]] = [
        (codes.setdefault(true, len(codes)), codes.setdefault(predicted, len(codes)), rows)
        for true, row in confusion.cells.items()
        for predicted, rows in row.items()
    ]
    if pairs:
        cells += [
            (
                codes.setdefault(category(label), len(codes)),
                codes.setdefault(category(prediction), len(codes)),
                weight,
            )
            for label, prediction, weight in pairs
        ]
        actual, predicted = np.array([cell[:2] for cell in cells], dtype=np.int64).T
        weights = np.array([weight for *_, weight in cells])
    else:
        actual, predicted, weights = np.array(cells, dtype=np.int64).T
    return classification(LabelledRows(actual, predicted, {}, baseline.positive_class, weights))


def _regression_metrics(errors: ErrorSums, pairs: Sequence[_WeightedPair]) -> Metrics:
    if errors.undefined:
        return {}  # if an error is not a number, the mean is not a number either
    if pairs:
        return _weighted_regression_metrics(errors, pairs)
    return {
        "mae": rounded(errors.absolute.mean(errors.rows)),
        "rmse": rounded(sqrt(errors.squares.mean(errors.rows))),
        "bias": rounded(errors.errors.mean(errors.rows)),
    }


def _weighted_regression_metrics(errors: ErrorSums, pairs: Sequence[_WeightedPair]) -> Metrics:
    residuals = np.array([number(prediction) - number(label) for label, prediction, _ in pairs])
    weights = np.array([weight for *_, weight in pairs])
    if not np.isfinite(residuals).all():
        return {}
    rows, counted = errors.rows + float(weights.sum()), errors.rows

    def mean(total: ExactSum, further: Array) -> float:
        sum_so_far = total.mean(counted) * counted if counted else 0.0
        return (sum_so_far + float(weights @ further)) / rows

    return {
        "mae": rounded(mean(errors.absolute, np.abs(residuals))),
        "rmse": rounded(sqrt(mean(errors.squares, residuals**2))),
        "bias": rounded(mean(errors.errors, residuals)),
    }


_UNDEFINED = {"roc_auc": "not defined: all labels are of one class"}
BAND_WIDTH = 2.0  # half width of an estimate's band, in standard errors


class PerformanceScorer:
    """Scores the performance of one version's windows."""

    def __init__(self, baseline: Baseline) -> None:
        """Set the version, with whose reference the windows' metrics are compared."""
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
        self._beyond = {kind: NormalDist().inv_cdf(1 - chance) for kind, chance in allowed.items()}
        self._expected: Metrics | None = None

    def score(
        self,
        window: pd.DataFrame,
        *,
        bands: bool = True,
        answers: LabelCounters | None = None,
        reviewed: ReviewedRows | None = None,
    ) -> list[Score]:
        """Score every metric, measured and estimated; only the policy's metric has a threshold.

        Without `bands`, measured metrics have no interval, which saves most of the time. `answers`
        are the counters of all rows of the window; None if `window` contains all rows. `reviewed`
        contains the rows that are labelled only through the review queue.
        """
        return [
            *attempt(
                self.primary,
                lambda: self._measured(self.labelled(window), answers, reviewed, bands=bands),
            ),
            *attempt(ESTIMATED + self.primary, lambda: self._estimated(window)),
            *attempt(GAP, lambda: self._gaps.score(self.labelled(window))),
        ]

    def labelled(self, window: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with a usable label; the index is the row number in the window."""
        label = self._baseline.own.label
        labels = window[label]
        if self._regression:  # ignore labels that are not numbers
            labels = pd.Series(numbers_of(labels), labels.index)
        return window.assign(**{label: labels})[labels.notna()]

    def weighted(
        self, labelled: pd.DataFrame, reviewed: ReviewedRows | None
    ) -> tuple[pd.DataFrame, Array | None]:
        """Return the labelled rows followed by the reviewed rows, and the weights of all rows.

        The weights are None if there are no reviewed rows.
        """
        if reviewed is None:
            return labelled, None
        weights = np.concatenate([np.ones(len(labelled)), reviewed.weights])
        return pd.concat([labelled, reviewed.frame], ignore_index=True), weights

    def _measured(
        self,
        labelled: pd.DataFrame,
        answers: LabelCounters | None,
        reviewed: ReviewedRows | None,
        *,
        bands: bool,
    ) -> list[Score]:
        sample = self._row_metrics(*self.weighted(labelled, reviewed), bands=bands)
        parts = [sample]
        if answers is not None:
            parts.append(metrics_from_counters(self._baseline, answers, sample, reviewed))
        most, by_name = max(part.rows for part in parts), dict[str, Score]()
        for part in parts:
            counts = "" if part.rows == most else f"; of {part.rows:,} of {most:,} labels"
            if reviewed is not None:
                counts += f"; {len(reviewed.frame):,} from the review queue, with the weight of "
                counts += f"{reviewed.total:.0f} labels"
            for name, value in part.figures.items():
                note = _reference_note(self._reference_metrics().get(name)) + counts
                by_name[name] = self._score(
                    name, value, part.intervals.get(name), note, part.effective
                )
        if self.primary not in by_name:
            note = f"{sample.rows} labels are known, at least {MIN_VALUES} are needed"
            by_name = {self.primary: Score(name=self.primary, value=None, note=note)} | by_name
        return list(by_name.values())

    def _row_metrics(
        self, labelled: pd.DataFrame, weights: Array | None, *, bands: bool
    ) -> MeasuredMetrics:
        if len(labelled) < MIN_VALUES:
            return MeasuredMetrics(len(labelled))
        rows = labelled_rows(self._baseline, labelled, self._baseline.own.label)
        effective = float(len(labelled))
        if weights is not None:
            rows, effective = msgspec.structs.replace(rows, weights=weights), float(weights.sum())
        figures = self.figures(rows)
        intervals = jackknife_intervals(rows, self.figures, figures) if bands else {}
        return MeasuredMetrics(len(labelled), figures, intervals, effective)

    def _estimated(self, window: pd.DataFrame) -> list[Score]:
        if not self.estimator.possible or len(window) < MIN_VALUES:
            return []
        if reason := self.estimator.withheld(window):
            return [Score(name=ESTIMATED + self.primary, value=None, note=reason)]
        scores: list[Score] = []
        bounds = self.estimator.bounds(window)
        for name, value in self.estimator.figures(window).items():
            usual = self.estimator.spread(name, len(window))
            if value is not None and usual is not None:
                ends = [value, *(end for bound in bounds if (end := bound.get(name)) is not None)]
                band = (min(ends) - BAND_WIDTH * usual, max(ends) + BAND_WIDTH * usual)
                note = _reference_note(self._reference_metrics().get(name))
                score = self._score(ESTIMATED + name, value, band, note, len(window))
                scores.append(_extrapolated(score, ends) if bounds else score)
        return scores

    def _score(
        self,
        name: str,
        value: float | None,
        band: tuple[float, float] | None,
        note: str,
        rows: float,
    ) -> Score:
        measured = name.removeprefix(ESTIMATED)
        kind: Spread = "label" if measured == name else "estimate"
        limit = self._allowed(rows, kind) if measured == self.primary else None
        breached = False
        if limit is not None and value is not None:
            breached = value > limit if measured in ERRORS else value < limit
        if limit != self._limit and measured == self.primary:
            note += f"; the limit {self._limit:g} is widened because of the few rows"
        low, high = band or (None, None)
        return clipped(
            Score(
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
        )

    def _allowed(self, rows: float, kind: Spread) -> float | None:
        """Return the policy's limit, widened if necessary.

        The limit is widened if windows as good as the reference would breach it by chance more
        often than the false-alarm budget allows.
        """
        reference = (
            self._reference_metrics() if kind == "label" else self._estimated_reference_metrics
        )
        expected, usual = (
            reference.get(self.primary),
            self.estimator.spread(self.primary, max(1, int(rows)), kind),
        )
        if self._limit is None or expected is None or usual is None:
            return self._limit
        # The last factor adds the error of the reference, which is itself a sample.
        error = self._beyond[kind] * usual * (1 + rows / len(self._baseline.frame)) ** 0.5
        if self.primary in ERRORS:
            return max(self._limit, significant(expected + error, 6))
        return min(self._limit, significant(expected - error, 6))

    @cached_property
    def _estimated_reference_metrics(self) -> Metrics:
        return self.estimator.figures(self._baseline.frame)

    def _reference_metrics(self) -> Metrics:
        if self._expected is None:
            target = self._baseline.manifest.target
            self._expected = self.figures(
                labelled_rows(self._baseline, self._baseline.frame, target)
            )
        return self._expected


def _extrapolated(score: Score, ends: Sequence[float]) -> Score:
    """Return an estimate judged by the best case of its extrapolated rows, with a note."""
    breached = score.breached
    if score.threshold is not None:
        error = score.name.removeprefix(ESTIMATED) in ERRORS
        best = min(ends) if error else max(ends)
        breached &= best > score.threshold if error else best < score.threshold
    note = "; ".join(
        part for part in (score.note, "some scores are outside the reference's range") if part
    )
    return msgspec.structs.replace(score, breached=breached, note=note)


def _reference_note(expected: float | None) -> str:
    return "" if expected is None else f"reference {figure(expected)}"
