"""Figures of performance from what was counted in all rows of a window that keeps some of them."""

from collections.abc import Mapping
from math import sqrt

import msgspec
import numpy as np

from monitoring.counters.window_counters import ConfusionMatrix, ErrorSums, LabelCounters
from monitoring.scoring.drift.resampling import SMALLEST
from monitoring.scoring.performance.metrics import Answers, Figures, classification, rounded
from monitoring.scoring.reference import Baseline

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
