"""Realised performance of the rows whose label is known, beside the reference's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from monitoring.core.results import Score
from monitoring.scoring.reference import Baseline, category, number

SMALLEST = 30  # labelled rows; fewer say nothing
ERRORS = frozenset({"log_loss", "brier", "mae", "rmse"})  # the smaller the better

Figures = dict[str, float | None]


def score_performance(baseline: Baseline, window: pd.DataFrame) -> list[Score]:
    """One score per figure; the policy's own first in line carries the threshold."""
    labelled = _labelled(baseline, window)
    if len(labelled) < SMALLEST:
        note = f"{len(labelled)} labels are known, at least {SMALLEST} are needed"
        return [Score(name=_chief(baseline), value=None, note=note)]
    figures = _figures(baseline, labelled, "label")
    expected = _figures(baseline, baseline.frame, baseline.manifest.target)
    return [_score(baseline, name, value, expected.get(name)) for name, value in figures.items()]


def _labelled(baseline: Baseline, window: pd.DataFrame) -> pd.DataFrame:
    labels = window["label"]
    if baseline.manifest.task == "regression":  # a label that is no number says nothing
        labels = labels.map(number)
    return window.assign(label=labels)[labels.notna()]


def _chief(baseline: Baseline) -> str:
    policy = baseline.manifest.monitoring.alarms
    default = "roc_auc" if baseline.manifest.task == "classification" else "mae"
    return policy.score or default


def _score(baseline: Baseline, name: str, value: float | None, expected: float | None) -> Score:
    limit = baseline.manifest.monitoring.alarms.min_score if name == _chief(baseline) else None
    breached = False
    if limit is not None and value is not None:
        breached = value > limit if name in ERRORS else value < limit
    note = "" if expected is None else f"reference {expected:.3f}"
    if value is None:
        note = "not defined for these labels"
    return Score(name=name, value=value, threshold=limit, breached=breached, note=note)


def _figures(baseline: Baseline, frame: pd.DataFrame, truth: str) -> Figures:
    if baseline.manifest.task == "regression":
        return _regression(frame, truth)
    return _classification(baseline, frame, truth)


def _regression(frame: pd.DataFrame, truth: str) -> Figures:
    actual = frame[truth].to_numpy(dtype=float)
    told = frame["prediction"].to_numpy(dtype=float)
    return {
        "mae": _defined(metrics.mean_absolute_error, actual, told),
        "rmse": _defined(metrics.root_mean_squared_error, actual, told),
        "r2": _defined(metrics.r2_score, actual, told),
        "bias": _rounded(float(np.mean(told - actual))),
    }


def _classification(baseline: Baseline, frame: pd.DataFrame, truth: str) -> Figures:
    actual, told = (_names(frame[name]) for name in (truth, "prediction"))
    positive = baseline.manifest.prediction.positive
    average = "macro" if positive is None else "binary"
    sides = {"average": average, "pos_label": category(positive), "zero_division": 0}
    figures: Figures = {"accuracy": _defined(metrics.accuracy_score, actual, told)}
    for name, metric in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        figures[name] = _defined(lambda a, t, m=metric: m(a, t, **sides), actual, told)
    if baseline.positive is not None:
        score = frame[baseline.positive].to_numpy(dtype=float)
        late = (actual == category(positive)).astype(int)
        figures |= _of_scores(late, score)
    return figures


def _of_scores(actual: "np.ndarray[tuple[int], np.dtype[np.int64]]", score: object) -> Figures:
    return {
        "roc_auc": _defined(metrics.roc_auc_score, actual, score),
        "log_loss": _defined(lambda a, s: metrics.log_loss(a, s, labels=[0, 1]), actual, score),
        "brier": _defined(metrics.brier_score_loss, actual, score),
    }


def _defined(metric: Callable[..., float], actual: object, told: object) -> float | None:
    """The metric's value; None where it is not defined for these labels."""
    try:
        return _rounded(float(metric(actual, told)))
    except ValueError:
        return None


def _rounded(value: float) -> float | None:
    return float(f"{value:.9g}") if np.isfinite(value) else None


def _names(values: "pd.Series[Any]") -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    return np.array([category(value) for value in values], dtype=object)
