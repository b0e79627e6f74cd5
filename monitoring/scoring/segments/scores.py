"""Everything that decides when a group, or the gap between two, breaks a rule lives here.

Few rows say little about a group, and among many groups some look bad by chance. A rule is broken
only where a figure lies beyond its limit by more than chance does to any of the groups, as rarely
as the budget of false alarms allows the rule in one window.

What a window shows in parts: one for each value, or each range, of the policy's segments.

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

from monitoring.alarms.budget import level
from monitoring.results import ESTIMATED, Score
from monitoring.scoring.drift.features import moved_features
from monitoring.scoring.feature_values import Table
from monitoring.scoring.performance.metrics import ERRORS, WIDTH, answers_of, intervals, only
from monitoring.scoring.performance.scores import BAND, Performance
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import SMALLEST, Array, attempt, significant
from monitoring.scoring.segments.fairness import Allowed, Proportion, Rates, gaps, rates
from monitoring.scoring.segments.grouping import Grouping, grouping
from registry.manifest import Manifest, Segment


class Limits(msgspec.Struct, frozen=True):
    """What the policy of one version asks of groups."""

    gaps: tuple[Allowed, Allowed]  # of the selection rate, and of the true-positive rate
    score: float | None  # of every group
    chance: float  # with which a group may break the limit of its score

    @classmethod
    def of(cls, manifest: Manifest, groups: Sequence[int]) -> "Limits":
        """`groups` are the numbers of named groups, by segment."""
        stated, allowed = manifest.monitoring.alarms, level(manifest)
        pairs = sum(number * (number - 1) // 2 for number in groups)
        errors = NormalDist().inv_cdf(1 - allowed / max(pairs, 1))
        gaps = stated.max_gap.selection_rate, stated.max_gap.true_positive_rate
        together = sum(number + 2 for number in groups)  # with the others, and with none
        return cls(
            (Allowed(gaps[0], errors), Allowed(gaps[1], errors)),
            stated.min_segment_score,
            allowed / max(together, 1),
        )

    def judged(self, score: Score, parts: int) -> Score:
        """A group's score beside the limit; its interval comes of so many `parts` left out."""
        if self.score is None or score.value is None or score.low is None or score.high is None:
            return score
        error = (score.high - score.low) / 2 / WIDTH
        beyond = float(student.ppf(1 - self.chance, parts - 1)) * error
        if score.name in ERRORS:
            breached = score.value - beyond > self.score
        else:
            breached = score.value + beyond < self.score
        return replace(score, threshold=self.score, breached=breached)


_INTERVAL_GROUPS = 10  # left out in turn: half as many as for the whole, which costs half


class Segments:
    """Scores the windows of one version in parts."""

    def __init__(self, baseline: Baseline, performance: Performance) -> None:
        """`performance` is that of the same version."""
        self._baseline = baseline
        self._performance = performance
        stated = baseline.manifest.monitoring.segments
        self._segments = [Segment(one) if isinstance(one, str) else one for one in stated]
        self._grouping = cache(self._group)

    @cached_property
    def _limits(self) -> Limits:
        """Of all segments together: many groups are many chances to look bad."""
        groups = (self._grouping(place)[0] for place in range(len(self._segments)))
        known = [one for one in groups if not isinstance(one, str)]
        return Limits.of(self._baseline.manifest, [len(one.named) for one in known])

    def score(self, window: pd.DataFrame, *, drift: bool) -> list[Score]:
        """Of every segment's groups their figures, and the gaps between them.

        `drift` says whether to look for drift in each, too.
        """
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
        cut = _Cut(self._baseline, self._performance, groups, window, self._limits)
        scores: list[Score] = []
        for number, name in enumerate(groups.names):
            rows, known = cut.places == number, expected == number
            if not rows.any() and (number >= len(groups.named) or not known.any()):
                continue
            segment = f"{groups.column}={name}"
            scores.append(_volume(segment, rows, known))
            if rows.sum() < SMALLEST:
                continue
            for figure, compute in cut.figures(rows).items():
                scores += attempt(figure, partial(compute, segment), segment=segment)
            if drift:
                moved = partial(_drift, segment, self._baseline, cut.table, rows, known)
                scores += attempt("drifted_share", moved, segment=segment)
        told = rates(cut.told, cut.real, cut.places, cut.labelled, groups.named)
        return scores + gaps(groups.column, told, usual, *self._limits.gaps)

    def _group(self, place: int) -> tuple[Grouping | str, Array, Rates]:
        """A segment's groups, and where the reference's rows belong and how they fare."""
        groups = grouping(self._baseline, self._segments[place])
        frame = self._baseline.frame
        if isinstance(groups, str):
            return groups, np.array([]), Rates({}, {})
        places = groups.places(frame[groups.column])
        answers = answers_of(self._baseline, frame, self._baseline.manifest.target)
        everywhere = np.arange(len(frame))
        return groups, places, rates(answers, answers, places, everywhere, groups.named)


class _Cut:
    """One window as the parts of one segment need it."""

    def __init__(
        self,
        baseline: Baseline,
        performance: Performance,
        groups: Grouping,
        window: pd.DataFrame,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._performance = performance
        self._window = window
        self._regression = baseline.manifest.task == "regression"
        self.places = groups.places(window[groups.column])
        self.table = baseline.window_table(window)
        self.told = answers_of(baseline, window, truth=None)
        known = performance.labelled(window)
        self.labelled = known.index.to_numpy()
        self.real = answers_of(baseline, known, "label") if len(known) else None

    def figures(self, rows: Array) -> dict[str, Callable[[str], list[Score]]]:
        """What is computed of some rows, by the figure that a failure is told of."""
        chief = self._performance.chief
        return {
            "mean_prediction": partial(self._answers, rows),
            chief: partial(self._realised, rows),
            ESTIMATED + chief: partial(self._estimated, rows),
        }

    def _answers(self, rows: Array, segment: str) -> list[Score]:
        told = self.told.only(rows)
        scores = []
        if told.positive is not None:
            hits = int((told.told == told.positive).sum())
            scores.append(share("selection_rate", Proportion(hits, len(told.told)), segment))
        said = told.told if self._regression else told.scores.get(told.positive or 0)
        if said is not None and (self._regression or told.positive is not None):
            finite = said[np.isfinite(said)]
            mean = significant(float(finite.mean())) if len(finite) else None
            note = "" if len(finite) else "no prediction is a number"
            scores.append(Score(name="mean_prediction", value=mean, segment=segment, note=note))
        return scores

    def _realised(self, rows: Array, segment: str) -> list[Score]:
        chief, chosen = self._performance.chief, rows[self.labelled]
        if self.real is None or chosen.sum() < SMALLEST:
            note = f"{int(chosen.sum())} labels are known, at least {SMALLEST} are needed"
            return [Score(name=chief, value=None, segment=segment, note=note)]
        known = self.real.only(chosen)
        figure = only(chief, self._performance.figures)
        whole = figure(known)
        low, high = intervals(known, figure, whole, _INTERVAL_GROUPS).get(chief, (None, None))
        note = f"on {len(known.told):,} labels" if whole[chief] is not None else "not defined"
        score = Score(
            name=chief, value=whole[chief], low=low, high=high, segment=segment, note=note
        )
        scores = [self._limits.judged(score, _INTERVAL_GROUPS)]
        if known.positive is not None and (actual := known.actual == known.positive).any():
            hits = int((known.told[actual] == known.positive).sum())
            found = Proportion(hits, int(actual.sum()))
            scores.append(share("true_positive_rate", found, segment))
        return scores

    def _estimated(self, rows: Array, segment: str) -> list[Score]:
        chief, estimator = self._performance.chief, self._performance.estimator
        if not estimator.possible:
            return []
        value = estimator.figures(self._window[rows]).get(chief)
        usual = estimator.spread(chief, len(rows))
        if value is None or usual is None:
            return []
        # Measured for windows of the whole's size; a part of it errs by the root of its share.
        band = BAND * usual * float(len(rows) / rows.sum()) ** 0.5
        return [
            Score(
                name=ESTIMATED + chief,
                value=value,
                low=significant(value - band),
                high=significant(value + band),
                segment=segment,
            )
        ]


def share(name: str, found: Proportion, segment: str) -> Score:
    """A proportion as a score with its interval."""
    low, high = (significant(one) for one in found.interval)
    value = significant(found.value)
    note = f"of {found.rows:,} rows"
    return Score(name=name, value=value, low=low, high=high, segment=segment, note=note)


def _volume(segment: str, rows: Array, known: Array) -> Score:
    count = int(rows.sum())
    note = f"{rows.mean():.1%}, reference {known.mean():.1%}"
    if count < SMALLEST:
        note += f"; too few for its figures, {SMALLEST} are needed"
    return Score(name="rows", value=float(count), segment=segment, note=note)


def _drift(
    segment: str, baseline: Baseline, window: Table, rows: Array, known: Array
) -> Iterator[Score]:
    scored, moved = moved_features(
        window,
        rows,
        baseline.table,
        known,
        baseline.manifest.monitoring.alarms.smallest_drift,
    )
    if not scored:
        note = f"no feature has {SMALLEST} values in it and in the reference"
        yield Score(name="drifted_share", value=None, segment=segment, note=note)
        return
    value = significant(len(moved) / scored)
    yield Score(name="drifted_share", value=value, segment=segment, note=_named(moved))


def _named(moved: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{column} {distance:.2f}" for column, distance in moved[:3])
