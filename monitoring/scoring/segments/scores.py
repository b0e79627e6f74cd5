"""Score each group of the policy's segments, and judge it against its limits.

Scores of a small group are noisy, and among many groups some are bad by chance. A limit is breached
only if a score exceeds it by more than chance explains. The probability at which chance may breach
a limit follows from the false-alarm budget and is divided by the number of groups (Bonferroni).

Evidently's own grouping is not used, because it reports the whole window's value for every group in
several metrics.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property, partial
from statistics import NormalDist

import msgspec
import numpy as np
import pandas as pd
from msgspec.structs import replace
from scipy.stats import t as student

from monitoring.alarms.budget import label_level, level
from monitoring.results import ESTIMATED, Score
from monitoring.scoring.drift.features import drifted_features
from monitoring.scoring.feature_values import FeatureTable
from monitoring.scoring.performance.metric_ranges import clipped
from monitoring.scoring.performance.metrics import (
    ERRORS,
    NORMAL_QUANTILE,
    jackknife_intervals,
    labelled_rows,
    single_metric,
)
from monitoring.scoring.performance.scores import BAND_WIDTH, PerformanceScorer, ReviewedRows
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES, Array, attempt
from monitoring.scoring.segments.fairness import (
    GapLimit,
    GroupRates,
    Proportion,
    gaps,
    proportion,
    rates,
)
from monitoring.scoring.segments.grouping import Grouping, grouping
from monitoring.significant_digits import significant
from registry.manifest import Manifest, SegmentPolicy


class GroupLimits(msgspec.Struct, frozen=True):
    """A policy's limits for groups, corrected for the number of comparisons."""

    gaps: tuple[GapLimit, GapLimit]  # limits of selection rate and true-positive rate
    score: float | None  # limit of the policy's metric in every group
    chance: float  # probability at which one group may breach the limit by chance

    @classmethod
    def of(cls, manifest: Manifest, groups: Sequence[int]) -> "GroupLimits":
        """Derive the limits; `groups` contains the number of named groups of each segment."""
        alarms, by_labels = manifest.monitoring.alarms, label_level(manifest)
        pairs = max(sum(number * (number - 1) // 2 for number in groups), 1)
        selection = NormalDist().inv_cdf(1 - level(manifest) / pairs)
        true_positives = NormalDist().inv_cdf(1 - by_labels / pairs)
        gaps = alarms.max_gap.selection_rate, alarms.max_gap.true_positive_rate
        comparisons = sum(number + 2 for number in groups)  # with "(other)" and "(missing)"
        return cls(
            (GapLimit(gaps[0], selection), GapLimit(gaps[1], true_positives)),
            alarms.min_segment_score,
            by_labels / max(comparisons, 1),
        )

    def judged(self, score: Score, parts: int) -> Score:
        """Return a group's score, compared with its limit by a one-sided t-test.

        `parts` is the number of jackknife groups of its interval.
        """
        if self.score is None or score.value is None or score.low is None or score.high is None:
            return score
        error = (score.high - score.low) / 2 / NORMAL_QUANTILE
        beyond = float(student.ppf(1 - self.chance, parts - 1)) * error
        if score.name in ERRORS:
            breached = score.value - beyond > self.score
        else:
            breached = score.value + beyond < self.score
        return replace(score, threshold=self.score, breached=breached)


_INTERVAL_GROUPS = 10  # jackknife groups; half as many as for the whole window, to save time


class SegmentScorer:
    """Scores the segments of one version's windows."""

    def __init__(self, baseline: Baseline, performance: PerformanceScorer) -> None:
        """`performance` must belong to the same version."""
        self._baseline = baseline
        self._performance = performance
        self._segments = [*map(SegmentPolicy.of, baseline.manifest.monitoring.segments)]
        self._grouping = cache(self._group)

    @cached_property
    def limits(self) -> GroupLimits:
        """The limits; they depend on the number of groups in all segments."""
        groups = (self._grouping(place)[0] for place in range(len(self._segments)))
        with_names = [group for group in groups if not isinstance(group, str)]
        return GroupLimits.of(self._baseline.manifest, [len(group.named) for group in with_names])

    def score(
        self, window: pd.DataFrame, *, drift: bool, reviewed: ReviewedRows | None = None
    ) -> list[Score]:
        """Score every group and the gaps between groups, and each group's drift if `drift`.

        `reviewed` contains the rows that are labelled only through the review queue.
        """
        scores: list[Score] = []
        for place, segment in enumerate(self._segments):
            part = partial(self._column_scores, place, window, reviewed, drift=drift)
            scores += attempt("segments", part, segment=segment.column)
        return scores

    def _column_scores(
        self, place: int, window: pd.DataFrame, reviewed: ReviewedRows | None, *, drift: bool
    ) -> list[Score]:
        groups, expected, usual = self._grouping(place)
        if isinstance(groups, str):
            name = self._segments[place].column
            return [Score(name="segments", segment=name, value=None, note=groups)]
        grouped = _GroupedWindow(
            self._baseline, self._performance, groups, window, self.limits, reviewed
        )
        scores: list[Score] = []
        for number, name in enumerate(groups.names):
            rows, reference_rows = grouped.places == number, expected == number
            if not rows.any() and (number >= len(groups.named) or not reference_rows.any()):
                continue
            segment = f"{groups.column}={name}"
            scores.append(_row_count_score(segment, rows, reference_rows))
            if rows.sum() < MIN_VALUES:
                continue
            for figure, compute in grouped.figures(rows, number).items():
                scores += attempt(figure, partial(compute, segment), segment=segment)
            if drift:
                compute_drift = partial(
                    _drift_score, segment, self._baseline, grouped.table, rows, reference_rows
                )
                scores += attempt("drifted_share", compute_drift, segment=segment)
        current = rates(
            grouped.predicted, grouped.real, grouped.places, grouped.label_places, groups.named
        )
        return scores + gaps(groups.column, current, usual, *self.limits.gaps)

    def _group(self, place: int) -> tuple[Grouping | str, Array, GroupRates]:
        """Return a segment's groups, the group index of each reference row, and the rates there.

        If the segment has no groups, the first item is the reason.
        """
        groups = grouping(self._baseline, self._segments[place])
        frame = self._baseline.frame
        if isinstance(groups, str):
            return groups, np.array([]), GroupRates({}, {})
        places = groups.places(frame[groups.column])
        answers = labelled_rows(self._baseline, frame, self._baseline.manifest.target)
        return groups, places, rates(answers, answers, places, places, groups.named)


class _GroupedWindow:
    """One window, divided into the groups of one segment."""

    def __init__(  # noqa: PLR0913, PLR0917  # everything that the scores of groups need
        self,
        baseline: Baseline,
        performance: PerformanceScorer,
        groups: Grouping,
        window: pd.DataFrame,
        limits: GroupLimits,
        reviewed: ReviewedRows | None,
    ) -> None:
        self._limits = limits
        self._performance = performance
        self._window = window
        self._regression = baseline.manifest.task == "regression"
        self.places = groups.places(window[groups.column])
        self.table = baseline.window_table(window)
        self.predicted = labelled_rows(baseline, window, label=None)
        labelled, weights = performance.weighted(performance.labelled(window), reviewed)
        self.label_places = (
            groups.places(labelled[groups.column]) if len(labelled) else np.array([])
        )
        self.real = labelled_rows(baseline, labelled, baseline.own.label) if len(labelled) else None
        if self.real is not None and weights is not None:
            self.real = replace(self.real, weights=weights)

    def figures(self, rows: Array, place: int) -> dict[str, Callable[[str], list[Score]]]:
        """Return the computations of a group's scores.

        `rows` is the mask of the group's rows, `place` its index. The key is the name of the score
        that reports a failed computation.
        """
        primary = self._performance.primary
        return {
            "mean_prediction": partial(self._prediction_scores, rows),
            primary: partial(self._measured_scores, place),
            ESTIMATED + primary: partial(self._estimated_scores, rows),
        }

    def _prediction_scores(self, rows: Array, segment: str) -> list[Score]:
        chosen = self.predicted.select(rows)
        scores = []
        if chosen.positive is not None:
            hits = int((chosen.predicted == chosen.positive).sum())
            scores.append(share("selection_rate", Proportion(hits, len(chosen.predicted)), segment))
        scores_or_values = (
            chosen.predicted if self._regression else chosen.scores.get(chosen.positive or 0)
        )
        if scores_or_values is not None and (self._regression or chosen.positive is not None):
            finite = scores_or_values[np.isfinite(scores_or_values)]
            mean = significant(float(finite.mean())) if len(finite) else None
            note = "" if len(finite) else "no prediction is a number"
            scores.append(Score(name="mean_prediction", value=mean, segment=segment, note=note))
        return scores

    def _measured_scores(self, place: int, segment: str) -> list[Score]:
        primary, chosen = self._performance.primary, self.label_places == place
        if self.real is None or chosen.sum() < MIN_VALUES:
            note = f"{int(chosen.sum())} labels are known, at least {MIN_VALUES} are needed"
            return [Score(name=primary, value=None, segment=segment, note=note)]
        rows = self.real.select(chosen)
        figure = single_metric(primary, self._performance.figures)
        whole = figure(rows)
        low, high = jackknife_intervals(rows, figure, whole, _INTERVAL_GROUPS).get(
            primary, (None, None)
        )
        note = f"on {len(rows.predicted):,} labels"
        score = Score(
            name=primary,
            value=whole[primary],
            low=low,
            high=high,
            segment=segment,
            note=note if whole[primary] is not None else "not defined",
        )
        scores = [clipped(self._limits.judged(score, _INTERVAL_GROUPS))]
        every = self._performance.figures(rows)
        scores += [
            Score(name=name, value=value, segment=segment, note=note)
            for name, value in every.items()
            if name != primary and value is not None
        ]
        if rows.positive is not None and (actual := rows.actual == rows.positive).any():
            hits = proportion(rows.predicted == rows.positive, actual, rows.weights)
            scores.append(share("true_positive_rate", hits, segment))
        return scores

    def _estimated_scores(self, rows: Array, segment: str) -> list[Score]:
        primary, estimator = self._performance.primary, self._performance.estimator
        if not estimator.possible:
            return []
        value = estimator.figures(self._window[rows]).get(primary)
        usual = estimator.spread(primary, len(rows))
        if value is None or usual is None:
            return []
        # `usual` applies to whole windows. The standard error of a group is greater by the square
        # root of the ratio of the numbers of rows.
        band = BAND_WIDTH * usual * float(len(rows) / rows.sum()) ** 0.5
        estimated = Score(
            name=ESTIMATED + primary,
            value=value,
            low=significant(value - band),
            high=significant(value + band),
            segment=segment,
        )
        return [clipped(estimated)]


def share(name: str, estimate: Proportion, segment: str) -> Score:
    """Return a proportion as a score with its confidence interval."""
    low, high = (significant(bound) for bound in estimate.interval)
    value = significant(estimate.value)
    note = f"of {estimate.rows:,.10g} rows"
    return Score(name=name, value=value, low=low, high=high, segment=segment, note=note)


def _row_count_score(segment: str, rows: Array, reference_rows: Array) -> Score:
    count = int(rows.sum())
    note = f"{rows.mean():.1%}, reference {reference_rows.mean():.1%}"
    if count < MIN_VALUES:
        note += f"; too few to score, {MIN_VALUES} are needed"
    return Score(name="rows", value=float(count), segment=segment, note=note)


def _drift_score(
    segment: str, baseline: Baseline, window: FeatureTable, rows: Array, reference_rows: Array
) -> Iterator[Score]:
    scored, drifted = drifted_features(
        window,
        rows,
        baseline.table,
        reference_rows,
        baseline.manifest.monitoring.alarms.smallest_drift,
    )
    if not scored:
        note = f"no feature has {MIN_VALUES} values in the segment and in the reference"
        yield Score(name="drifted_share", value=None, segment=segment, note=note)
        return
    value = significant(len(drifted) / scored)
    yield Score(name="drifted_share", value=value, segment=segment, note=_drift_text(drifted))


def _drift_text(drifted: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{column} {distance:.2f}" for column, distance in drifted[:3])
