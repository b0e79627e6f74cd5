"""Score each group of the policy's segments, and judge it against its limits.

A small group is noisy, and among many groups some look bad by chance. A limit is breached only when
a score lies beyond it by more than chance explains for any of the groups (Bonferroni), at the rate
that the false-alarm budget allows per window.

Evidently's own grouping is not used: for several metrics it gives every group the whole's value.
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
from monitoring.scoring.performance.metrics import (
    ERRORS,
    NORMAL_QUANTILE,
    jackknife_intervals,
    labelled_rows,
    single_metric,
)
from monitoring.scoring.performance.scores import BAND_WIDTH, PerformanceScorer
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import MIN_VALUES, Array, attempt
from monitoring.scoring.segments.fairness import GapLimit, GroupRates, Proportion, gaps, rates
from monitoring.scoring.segments.grouping import Grouping, grouping
from monitoring.significant_digits import significant
from registry.manifest import Manifest, SegmentPolicy


class GroupLimits(msgspec.Struct, frozen=True):
    """The limits of a policy for its groups, corrected for the number of comparisons."""

    gaps: tuple[GapLimit, GapLimit]  # of the selection rate, and of the true-positive rate
    score: float | None  # of the policy's metric, in every group
    chance: float  # the probability at which a group may breach it without cause

    @classmethod
    def of(cls, manifest: Manifest, groups: Sequence[int]) -> "GroupLimits":
        """Derive them from a manifest; `groups`: the number of named groups of each segment."""
        stated, by_labels = manifest.monitoring.alarms, label_level(manifest)
        pairs = max(sum(number * (number - 1) // 2 for number in groups), 1)
        selection = NormalDist().inv_cdf(1 - level(manifest) / pairs)
        true_positives = NormalDist().inv_cdf(1 - by_labels / pairs)
        gaps = stated.max_gap.selection_rate, stated.max_gap.true_positive_rate
        together = sum(number + 2 for number in groups)  # with the others, and with none
        return cls(
            (GapLimit(gaps[0], selection), GapLimit(gaps[1], true_positives)),
            stated.min_segment_score,
            by_labels / max(together, 1),
        )

    def judged(self, score: Score, parts: int) -> Score:
        """Compare a group's score with its limit (one-sided t-test on `parts` jackknife groups)."""
        if self.score is None or score.value is None or score.low is None or score.high is None:
            return score
        error = (score.high - score.low) / 2 / NORMAL_QUANTILE
        beyond = float(student.ppf(1 - self.chance, parts - 1)) * error
        if score.name in ERRORS:
            breached = score.value - beyond > self.score
        else:
            breached = score.value + beyond < self.score
        return replace(score, threshold=self.score, breached=breached)


_INTERVAL_GROUPS = 10  # left out in turn: half as many as for the whole, which costs half


class SegmentScorer:
    """Score the segments of one version's windows."""

    def __init__(self, baseline: Baseline, performance: PerformanceScorer) -> None:
        """`performance` scores the same version."""
        self._baseline = baseline
        self._performance = performance
        stated = baseline.manifest.monitoring.segments
        self._segments = [SegmentPolicy(one) if isinstance(one, str) else one for one in stated]
        self._grouping = cache(self._group)

    @cached_property
    def limits(self) -> GroupLimits:
        """Limits over all segments together, because every group is one more comparison."""
        groups = (self._grouping(place)[0] for place in range(len(self._segments)))
        known = [one for one in groups if not isinstance(one, str)]
        return GroupLimits.of(self._baseline.manifest, [len(one.named) for one in known])

    def score(self, window: pd.DataFrame, *, drift: bool) -> list[Score]:
        """Score every group and the gaps between groups; with `drift`, each group's drift, too."""
        scores: list[Score] = []
        for place, segment in enumerate(self._segments):
            part = partial(self._column, place, window, drift=drift)
            scores += attempt("segments", part, segment=segment.column)
        return scores

    def _column(self, place: int, window: pd.DataFrame, *, drift: bool) -> list[Score]:
        groups, expected, usual = self._grouping(place)
        if isinstance(groups, str):
            name = self._segments[place].column
            return [Score(name="segments", segment=name, value=None, note=groups)]
        cut = _GroupedWindow(self._baseline, self._performance, groups, window, self.limits)
        scores: list[Score] = []
        for number, name in enumerate(groups.names):
            rows, known = cut.places == number, expected == number
            if not rows.any() and (number >= len(groups.named) or not known.any()):
                continue
            segment = f"{groups.column}={name}"
            scores.append(_volume(segment, rows, known))
            if rows.sum() < MIN_VALUES:
                continue
            for figure, compute in cut.figures(rows).items():
                scores += attempt(figure, partial(compute, segment), segment=segment)
            if drift:
                moved = partial(_drift, segment, self._baseline, cut.table, rows, known)
                scores += attempt("drifted_share", moved, segment=segment)
        current = rates(cut.predicted, cut.real, cut.places, cut.labelled, groups.named)
        return scores + gaps(groups.column, current, usual, *self.limits.gaps)

    def _group(self, place: int) -> tuple[Grouping | str, Array, GroupRates]:
        """Return a segment's groups, and the reference's group indices and rates."""
        groups = grouping(self._baseline, self._segments[place])
        frame = self._baseline.frame
        if isinstance(groups, str):
            return groups, np.array([]), GroupRates({}, {})
        places = groups.places(frame[groups.column])
        answers = labelled_rows(self._baseline, frame, self._baseline.manifest.target)
        everywhere = np.arange(len(frame))
        return groups, places, rates(answers, answers, places, everywhere, groups.named)


class _GroupedWindow:
    """One window, prepared for the groups of one segment."""

    def __init__(
        self,
        baseline: Baseline,
        performance: PerformanceScorer,
        groups: Grouping,
        window: pd.DataFrame,
        limits: GroupLimits,
    ) -> None:
        self._limits = limits
        self._performance = performance
        self._window = window
        self._regression = baseline.manifest.task == "regression"
        self.places = groups.places(window[groups.column])
        self.table = baseline.window_table(window)
        self.predicted = labelled_rows(baseline, window, label=None)
        known = performance.labelled(window)
        self.labelled = known.index.to_numpy()
        self.real = labelled_rows(baseline, known, baseline.own.label) if len(known) else None

    def figures(self, rows: Array) -> dict[str, Callable[[str], list[Score]]]:
        """Return what is computed for these rows, by the score that would report a failure."""
        primary = self._performance.primary
        return {
            "mean_prediction": partial(self._answers, rows),
            primary: partial(self._realised, rows),
            ESTIMATED + primary: partial(self._estimated, rows),
        }

    def _answers(self, rows: Array, segment: str) -> list[Score]:
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

    def _realised(self, rows: Array, segment: str) -> list[Score]:
        primary, chosen = self._performance.primary, rows[self.labelled]
        if self.real is None or chosen.sum() < MIN_VALUES:
            note = f"{int(chosen.sum())} labels are known, at least {MIN_VALUES} are needed"
            return [Score(name=primary, value=None, segment=segment, note=note)]
        known = self.real.select(chosen)
        figure = single_metric(primary, self._performance.figures)
        whole = figure(known)
        low, high = jackknife_intervals(known, figure, whole, _INTERVAL_GROUPS).get(
            primary, (None, None)
        )
        note = f"on {len(known.predicted):,} labels"
        score = Score(
            name=primary,
            value=whole[primary],
            low=low,
            high=high,
            segment=segment,
            note=note if whole[primary] is not None else "not defined",
        )
        scores = [self._limits.judged(score, _INTERVAL_GROUPS)]
        every = self._performance.figures(known)
        scores += [
            Score(name=name, value=value, segment=segment, note=note)
            for name, value in every.items()
            if name != primary and value is not None
        ]
        if known.positive is not None and (actual := known.actual == known.positive).any():
            hits = int((known.predicted[actual] == known.positive).sum())
            found = Proportion(hits, int(actual.sum()))
            scores.append(share("true_positive_rate", found, segment))
        return scores

    def _estimated(self, rows: Array, segment: str) -> list[Score]:
        primary, estimator = self._performance.primary, self._performance.estimator
        if not estimator.possible:
            return []
        value = estimator.figures(self._window[rows]).get(primary)
        usual = estimator.spread(primary, len(rows))
        if value is None or usual is None:
            return []
        # The spread is that of whole windows; a group's is larger by the root of its share.
        band = BAND_WIDTH * usual * float(len(rows) / rows.sum()) ** 0.5
        return [
            Score(
                name=ESTIMATED + primary,
                value=value,
                low=significant(value - band),
                high=significant(value + band),
                segment=segment,
            )
        ]


def share(name: str, found: Proportion, segment: str) -> Score:
    """Return a proportion as a score with its confidence interval."""
    low, high = (significant(one) for one in found.interval)
    value = significant(found.value)
    note = f"of {found.rows:,} rows"
    return Score(name=name, value=value, low=low, high=high, segment=segment, note=note)


def _volume(segment: str, rows: Array, known: Array) -> Score:
    count = int(rows.sum())
    note = f"{rows.mean():.1%}, reference {known.mean():.1%}"
    if count < MIN_VALUES:
        note += f"; too few for its figures, {MIN_VALUES} are needed"
    return Score(name="rows", value=float(count), segment=segment, note=note)


def _drift(
    segment: str, baseline: Baseline, window: FeatureTable, rows: Array, known: Array
) -> Iterator[Score]:
    scored, moved = drifted_features(
        window,
        rows,
        baseline.table,
        known,
        baseline.manifest.monitoring.alarms.smallest_drift,
    )
    if not scored:
        note = f"no feature has {MIN_VALUES} values in it and in the reference"
        yield Score(name="drifted_share", value=None, segment=segment, note=note)
        return
    value = significant(len(moved) / scored)
    yield Score(name="drifted_share", value=value, segment=segment, note=_named(moved))


def _named(moved: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{column} {distance:.2f}" for column, distance in moved[:3])
