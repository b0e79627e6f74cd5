"""Figures of performance: what a model answered against what was true.

Every row may carry a weight, so the same figures serve rows whose truth is known and rows whose
truth is only likely (see estimation.py). A figure that is not defined for these rows is None.

A window's rows, or the reference's, as the figures of performance take them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec.structs import replace
from sklearn import metrics

from monitoring.counters.reference_domain import number
from monitoring.scoring.feature_values import categories
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import Array, significant

Figures = dict[str, float | None]

ERRORS = frozenset(  # the smaller the better
    {"log_loss", "brier", "calibration_error", "mae", "rmse", "mape"}
)
_OF_LABELS = frozenset({"accuracy", "precision", "recall", "f1"})
_BINS = 10
_GROUPS = 20
WIDTH = 1.96  # standard errors: 95 %


class Answers(msgspec.Struct, frozen=True):
    """Rows of answers beside the truth; all arrays have one entry per row.

    Numbers, or the numbers of classes: 0, 1, ...
    """

    actual: Array
    told: Array
    scores: Mapping[int, Array] = {}  # probability by class
    positive: int | None = None  # the class of interest among two
    weights: Array | None = None

    def only(self, rows: Array) -> "Answers":
        """These rows of it; `rows` is a mask."""
        return Answers(
            self.actual[rows],
            self.told[rows],
            {name: score[rows] for name, score in self.scores.items()},
            self.positive,
            None if self.weights is None else self.weights[rows],
        )


def regression(rows: Answers) -> Figures:
    """Mean errors in the target's unit, the share of variance explained, and the bias."""
    actual, told, weights = rows.actual, rows.told, rows.weights
    return {
        "mae": _defined(metrics.mean_absolute_error, actual, told, sample_weight=weights),
        "rmse": _defined(metrics.root_mean_squared_error, actual, told, sample_weight=weights),
        "mape": _mape(actual, told),
        "r2": _defined(metrics.r2_score, actual, told, sample_weight=weights),
        "bias": rounded(float(np.average(told - actual, weights=weights))),
    }


def classification(rows: Answers) -> Figures:
    """Of the labels, and of the probabilities where there are any; for many classes their mean."""
    table = _table(rows)
    hits, told, actual = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    seen = np.flatnonzero(told + actual)
    classes = seen if rows.positive is None else np.array([rows.positive])
    figures: Figures = {
        "accuracy": rounded(float(hits.sum() / table.sum())),
        "precision": _share(hits[classes], told[classes]),
        "recall": _share(hits[classes], actual[classes]),
        "f1": _share(2 * hits[classes], told[classes] + actual[classes]),
    }
    return figures | _of_scores(rows) if rows.scores else figures


def _table(rows: Answers) -> Array:
    """The weight of rows by actual and told class."""
    classes = max(2, int(max(rows.actual.max(), rows.told.max())) + 1)
    cells = rows.actual * classes + rows.told
    return np.bincount(cells, rows.weights, minlength=classes**2).reshape(classes, classes)


def _share(parts: Array, wholes: Array) -> float | None:
    """The mean share over classes; a class that never occurs has a share of 0."""
    shares = np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
    return rounded(float(np.mean(shares)))


def intervals(
    rows: Answers, figures: Callable[[Answers], Figures], whole: Figures, parts: int = _GROUPS
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each figure, by leaving out one group of rows after the other.

    The rows' order decides who is in which group, so equal rows give equal intervals.
    """
    groups = np.arange(len(rows.actual)) % parts
    without = [figures(rows.only(groups != group)) for group in range(parts)]
    found: dict[str, tuple[float, float]] = {}
    for name, value in whole.items():
        left = [part.get(name) for part in without]
        known = [one for one in left if one is not None]
        if value is None or len(known) < parts:
            continue
        error = float(np.sqrt((parts - 1) * np.var(known)))
        found[name] = (significant(value - WIDTH * error), significant(value + WIDTH * error))
    return found


def only(name: str, figures: Callable[[Answers], Figures]) -> Callable[[Answers], Figures]:
    """One of the `figures` alone, without those that cost more than it does."""
    if name == "roc_auc":
        return lambda rows: {name: _roc_auc(rows) if rows.scores else None}
    if name in _OF_LABELS:
        return lambda rows: {name: figures(replace(rows, scores={}))[name]}
    return lambda rows: {name: figures(rows).get(name)}


def _of_scores(rows: Answers) -> Figures:
    sides = _sides(rows)
    return {
        "roc_auc": _roc_auc(rows),
        "log_loss": _log_loss(rows),
        "brier": _mean(
            rounded(float(np.average((score - is_it) ** 2, weights=rows.weights)))
            for is_it, score in sides
        ),
        "calibration_error": _mean(
            _calibration_error(is_it, score, rows.weights) for is_it, score in sides
        ),
    }


def _sides(rows: Answers) -> list[tuple[Array, Array]]:
    """Whether it is the class, and its probability, of the class of interest or of each."""
    classes = [rows.positive] if rows.positive is not None else sorted(rows.scores)
    return [(rows.actual == name, rows.scores[name]) for name in classes]


def _roc_auc(rows: Answers) -> float | None:
    return _mean(area(is_it, score, rows.weights) for is_it, score in _sides(rows))


def area(is_it: Array, score: Array, weights: Array | None = None) -> float | None:
    """The area below the ROC curve: how often a row of the class has the higher score.

    As sklearn's, an order of magnitude faster: intervals ask for it hundreds of times.
    """
    order = np.argsort(score, kind="stable")
    weights = np.ones(len(score)) if weights is None else weights[order]
    inside = np.where(is_it[order], weights, 0.0)
    outside = weights - inside
    if not inside.any() or not outside.any():
        return None  # one side is empty
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # of equal scores
    inside, outside = np.add.reduceat(inside, starts), np.add.reduceat(outside, starts)
    below = np.cumsum(outside) - outside / 2  # of the other side; half of those that tie
    return rounded(float((inside * below).sum() / (inside.sum() * outside.sum())))


def _log_loss(rows: Answers) -> float | None:
    """Of the probability that was given to what was true."""
    given = np.zeros(len(rows.actual))
    for name, score in rows.scores.items():
        given[rows.actual == name] = score[rows.actual == name]
    smallest = np.finfo(np.float64).eps
    return rounded(float(-np.average(np.log(np.maximum(given, smallest)), weights=rows.weights)))


def _calibration_error(is_it: Array, score: Array, weights: Array | None) -> float | None:
    """How far probability and truth lie apart, on average over ten groups of like probability."""
    weights = np.ones(len(score)) if weights is None else weights
    edges = np.quantile(score, np.linspace(0, 1, _BINS + 1)[1:-1])
    group = np.searchsorted(edges, score, side="right")
    excess = np.bincount(group, weights * (score - is_it), minlength=_BINS)
    return rounded(float(np.abs(excess).sum() / weights.sum()))


def _mape(actual: Array, told: Array) -> float | None:
    """Mean error relative to the truth, where the truth is not 0."""
    known = actual != 0
    if not known.any():
        return None
    return rounded(float(np.mean(np.abs(told[known] - actual[known]) / np.abs(actual[known]))))


def _mean(values: Any) -> float | None:
    known: Sequence[float | None] = list(values)
    if not known or None in known:
        return None
    return rounded(float(np.mean([value for value in known if value is not None])))


def _defined(metric: Callable[..., float], actual: Array, told: Array, **how: Any) -> float | None:
    try:
        return rounded(float(metric(actual, told, **how)))
    except ValueError:
        return None


def rounded(value: float) -> float | None:
    """To nine digits; None where it is not finite."""
    return significant(value) if np.isfinite(value) else None


def answers_of(baseline: Baseline, frame: pd.DataFrame, truth: str | None) -> Answers:
    """The answers beside the truth in column `truth`; without one, what was told counts as true."""
    told = frame["prediction"]
    actual = told if truth is None else frame[truth]
    if baseline.manifest.task == "regression":
        return Answers(
            actual.map(number).to_numpy(dtype=float), told.map(number).to_numpy(dtype=float)
        )
    known = dict(baseline.classes)
    return Answers(
        _codes(actual, known),
        _codes(told, known),
        {
            baseline.classes[name]: frame[stored].map(number).to_numpy(dtype=float)
            for name, stored in baseline.probabilities.items()
        },
        baseline.positive_class,
    )


def _codes(values: "pd.Series[Any]", known: dict[str, int]) -> Array:
    """Each value's class; a new one gets the next number."""
    codes, different = pd.factorize(categories(values), use_na_sentinel=False)
    places = [known.setdefault(str(name), len(known)) for name in different]
    return np.array(places, dtype=np.int64)[codes]
