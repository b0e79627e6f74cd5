"""Figures of performance from what was counted in all rows of a window that keeps some of them.

Performance of a window's rows: realised where the label is known, estimated everywhere.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from math import sqrt
from statistics import NormalDist

import msgspec
import numpy as np
import pandas as pd

from monitoring.alarms.budget import level
from monitoring.counters.reference_domain import number
from monitoring.counters.window_counters import ConfusionMatrix, ErrorSums, LabelCounters
from monitoring.results import ESTIMATED, GAP, Score
from monitoring.scoring.performance.estimate_gap import Gaps
from monitoring.scoring.performance.estimator import Estimator, Spread
from monitoring.scoring.performance.metrics import (
    ERRORS,
    Answers,
    Figures,
    answers_of,
    classification,
    intervals,
    regression,
    rounded,
)
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import SMALLEST, attempt, significant

Interval = tuple[float, float]


class Realised(msgspec.Struct, frozen=True):
    """Figures of so many rows whose label is known, with the intervals that there are."""

    rows: int
    figures: Figures = {}
    around: Mapping[str, Interval] = {}


def counted(baseline: Baseline, answers: LabelCounters, sample: Realised) -> Realised:
    """Of all rows, the figures that need no more than counts.

    Their intervals are the sample's, narrower as the root of the rows: chance errs less in more.
    """
    regression = baseline.manifest.task == "regression"
    rows = answers.errors.rows if regression else answers.confusion.rows
    if rows < SMALLEST:
        return Realised(rows)
    figures = _of_errors(answers.errors) if regression else _of_classes(baseline, answers.confusion)
    narrower = sqrt(sample.rows / rows)
    around: dict[str, Interval] = {}
    for name, (low, high) in sample.around.items():
        if (value := figures.get(name)) is not None:
            half = narrower * (high - low) / 2
            around[name] = value - half, value + half
    return Realised(rows, figures, around)


def _of_classes(baseline: Baseline, confusion: ConfusionMatrix) -> Figures:
    """By the formulas of rows, each cell as one row that weighs as much as it counts."""
    if confusion.crowded:
        return {"accuracy": rounded(confusion.hits / confusion.rows)}
    known = dict(baseline.classes)
    cells = [
        (known.setdefault(true, len(known)), known.setdefault(said, len(known)), rows)
        for true, row in confusion.cells.items()
        for said, rows in row.items()
    ]
    actual, told, weights = np.array(cells, dtype=np.int64).T
    return classification(Answers(actual, told, {}, baseline.positive_class, weights))


def _of_errors(errors: ErrorSums) -> Figures:
    if errors.undefined:
        return {}  # where one error is no number, neither is their mean
    return {
        "mae": rounded(errors.absolute.mean(errors.rows)),
        "rmse": rounded(sqrt(errors.squares.mean(errors.rows))),
        "bias": rounded(errors.errors.mean(errors.rows)),
    }


BAND = 2.0  # times the usual error, around an estimate


class Performance:
    """Scores the windows of one version."""

    def __init__(self, baseline: Baseline) -> None:
        """Figures are compared with those of the reference."""
        self._baseline = baseline
        self.estimator = Estimator(baseline)
        self._regression = baseline.manifest.task == "regression"
        policy = baseline.manifest.monitoring.alarms
        self.chief = policy.score or ("mae" if self._regression else "roc_auc")
        self._limit = policy.min_score
        self.figures: Callable[[Answers], Figures] = (
            regression if self._regression else classification
        )
        self._gaps = Gaps(baseline, self.estimator, self.figures, self.chief)
        self._beyond = NormalDist().inv_cdf(1 - level(baseline.manifest))
        self._expected: Figures | None = None

    def score(
        self, window: pd.DataFrame, *, bands: bool = True, answers: LabelCounters | None = None
    ) -> list[Score]:
        """One score per figure, realised and estimated; the policy's own carries the threshold.

        Without `bands`, which take most of the time, realised figures have no interval. `answers`
        counts what can be counted in all rows of the window; without it these are all.
        """
        return [
            *attempt(
                self.chief, lambda: self._realised(self.labelled(window), answers, bands=bands)
            ),
            *attempt(ESTIMATED + self.chief, lambda: self._estimated(window)),
            *attempt(GAP, lambda: self._gaps.score(self.labelled(window))),
        ]

    def labelled(self, window: pd.DataFrame) -> pd.DataFrame:
        """The rows whose label is known and says something, under their numbers in the window."""
        labels = window["label"]
        if self._regression:  # a label that is no number says nothing
            labels = labels.map(number)
        return window.assign(label=labels)[labels.notna()]

    def _realised(
        self, labelled: pd.DataFrame, answers: LabelCounters | None, *, bands: bool
    ) -> list[Score]:
        sample = self._of_rows(labelled, bands=bands)
        found = [sample]
        if answers is not None:
            found.append(counted(self._baseline, answers, sample))
        most, told = max(part.rows for part in found), dict[str, Score]()
        for part in found:
            of = "" if part.rows == most else f"; of {part.rows:,} of {most:,} labels"
            for name, value in part.figures.items():
                note = _beside(self._of_reference().get(name)) + of
                told[name] = self._told(name, value, part.around.get(name), note, part.rows)
        if self.chief not in told:
            note = f"{sample.rows} labels are known, at least {SMALLEST} are needed"
            told = {self.chief: Score(name=self.chief, value=None, note=note)} | told
        return list(told.values())

    def _of_rows(self, labelled: pd.DataFrame, *, bands: bool) -> Realised:
        if len(labelled) < SMALLEST:
            return Realised(len(labelled))
        rows = answers_of(self._baseline, labelled, "label")
        figures = self.figures(rows)
        around = intervals(rows, self.figures, figures) if bands else {}
        return Realised(len(labelled), figures, around)

    def _estimated(self, window: pd.DataFrame) -> list[Score]:
        if not self.estimator.possible or len(window) < SMALLEST:
            return []
        found: list[Score] = []
        for name, value in self.estimator.figures(window).items():
            usual = self.estimator.spread(name, len(window))
            if value is not None and usual is not None:
                band = (value - BAND * usual, value + BAND * usual)
                note = _beside(self._of_reference().get(name))
                found.append(self._told(ESTIMATED + name, value, band, note, len(window)))
        return found

    def _told(
        self,
        name: str,
        value: float | None,
        band: tuple[float, float] | None,
        note: str,
        rows: int,
    ) -> Score:
        figure = name.removeprefix(ESTIMATED)
        of: Spread = "truth" if figure == name else "estimate"
        limit = self._allowed(rows, of) if figure == self.chief else None
        breached = False
        if limit is not None and value is not None:
            breached = value > limit if figure in ERRORS else value < limit
        if limit != self._limit and figure == self.chief:
            note += f"; the limit {self._limit:g} is wider by what chance does in so few rows"
        low, high = band or (None, None)
        return Score(
            name=name,
            value=value,
            threshold=limit,
            breached=breached,
            low=None if low is None else significant(low),
            high=None if high is None else significant(high),
            note="not defined for these labels" if value is None else note,
        )

    def _allowed(self, rows: int, of: Spread) -> float | None:
        """The policy's limit; wider where windows as good as the reference would break it by chance
        more often than the budget of false alarms allows.
        """
        known = self._of_reference() if of == "truth" else self._estimated_of_reference
        expected, usual = known.get(self.chief), self.estimator.spread(self.chief, rows, of)
        if self._limit is None or expected is None or usual is None:
            return self._limit
        # The reference is a sample too.
        error = usual * (1 + rows / len(self._baseline.frame)) ** 0.5
        if self.chief in ERRORS:
            return max(self._limit, float(f"{expected + self._beyond * error:.6g}"))
        return min(self._limit, float(f"{expected - self._beyond * error:.6g}"))

    @cached_property
    def _estimated_of_reference(self) -> Figures:
        return self.estimator.figures(self._baseline.frame)

    def _of_reference(self) -> Figures:
        if self._expected is None:
            target = self._baseline.manifest.target
            self._expected = self.figures(answers_of(self._baseline, self._baseline.frame, target))
        return self._expected


def _beside(expected: float | None) -> str:
    return "" if expected is None else f"reference {expected:.3f}"
