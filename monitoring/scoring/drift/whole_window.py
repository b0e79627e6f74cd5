"""Score a window as a whole: its strongest column, its correlations and the false-alarm budget.

The first two scores are ratios to their thresholds; 1 or more is drift.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, isinf
from typing import Any

import numpy as np
import pandas as pd

from eventlog.events import INFINITIES
from monitoring.alarms.budget import budget_text, false_alarms, level
from monitoring.presenter.formats import percent_and_limit, value_and_limit
from monitoring.results import BUDGET, JOINT, MOVED, STRONGEST, Score
from monitoring.scoring.drift.joint import JointChange
from monitoring.scoring.drift.null_distribution import drift_statistic
from monitoring.scoring.drift.thresholds import DriftThresholds, WindowThresholds
from monitoring.scoring.reference import Baseline, Column, comparable
from monitoring.scoring.score_rules import MIN_VALUES, attempt
from monitoring.significant_digits import significant

_SHOWN = 3  # maximum columns that are named for a change of correlations


def score_whole(
    baseline: Baseline,
    thresholds: DriftThresholds,
    window: pd.DataFrame,
    drift: Sequence[Score],
    alone: Mapping[str, float],
) -> list[Score]:
    """Return the scores of the window as a whole.

    `drift` contains the columns' drift scores. `alone` maps a column to the threshold from which
    its drift breaks the rule by itself.
    """

    def strongest() -> list[Score]:
        ratios = [_ratio(score, alone[score.column]) for score in drift if _is_scored(score, alone)]
        return [_strongest(ratios + _missing_ratios(baseline, window, thresholds.of(len(window))))]

    return [
        *attempt(STRONGEST, strongest),
        *attempt(JOINT, lambda: _joint(thresholds, window)),
        *attempt(BUDGET, lambda: [_budget(baseline, thresholds.of(len(window)))]),
    ]


def _is_scored(score: Score, alone: Mapping[str, float]) -> bool:
    return score.column in alone and score.value is not None and isfinite(score.value)


def _ratio(score: Score, limit: float) -> tuple[float, str]:
    """Return the ratio of a column's drift to its threshold, and a description."""
    value = 0.0 if score.value is None else score.value
    reached, allowed = (drift_statistic(score.method, amount) for amount in (value, limit))
    reached_text, bound = value_and_limit(value, limit)
    return reached / allowed if allowed > 0 else 0.0, (
        f"{score.column} {reached_text} ({score.method}, limit {bound} for one column)"
    )


def _missing_ratios(
    baseline: Baseline, window: pd.DataFrame, sized: WindowThresholds
) -> list[tuple[float, str]]:
    """Return the ratio and a description for each feature's change of its missing share."""
    descriptions = []
    for column in baseline.columns:
        limit = sized.missing.get(column.name, 0.0)
        if limit > 0:
            now, before = (
                _unusable(baseline.observed(rows, column.stored), column)
                for rows in (window, baseline.frame)
            )
            difference = sum(now.values()) - sum(before.values())
            kind_of_value = max(_UNUSABLE, key=lambda kind: abs(now[kind] - before[kind]))
            shares = percent_and_limit(now[kind_of_value], before[kind_of_value])
            description = f"{column.name} {shares[0]} {kind_of_value}, {shares[1]} in the reference"
            descriptions.append((abs(difference) / limit, description))
    return descriptions


_UNUSABLE = ("missing", "infinite", "not a number")


def _unusable(values: "pd.Series[Any]", column: Column) -> dict[str, float]:
    """Return the shares of missing, infinite and other values that have no distance."""
    if not len(values):
        return dict.fromkeys(_UNUSABLE, 0.0)
    if column.kind == "categorical":
        return {"missing": float(values.isna().mean()), "infinite": 0.0, "not a number": 0.0}
    missing = float(values.isna().mean())
    unusable = float(comparable(values, column).isna().mean())
    if unusable == missing:
        return {"missing": missing, "infinite": 0.0, "not a number": 0.0}
    infinite = float(values.map(_is_infinite).mean())
    other = max(0.0, unusable - missing - infinite)
    return {"missing": missing, "infinite": infinite, "not a number": other}


def _is_infinite(value: Any) -> bool:
    """Return whether a value is an infinity, or an integer that no float can hold."""
    if isinstance(value, str):
        return value in INFINITIES
    try:
        return isinf(value)
    except (TypeError, OverflowError) as error:
        return isinstance(error, OverflowError)


def _strongest(ratios: list[tuple[float, str]]) -> Score:
    if not ratios:
        return Score(name=STRONGEST, value=None, threshold=1.0, note="no column can be scored")
    ratio, text = max(ratios)
    return _ratio_score(STRONGEST, ratio, text)


def _joint(thresholds: DriftThresholds, window: pd.DataFrame) -> list[Score]:
    joint_drift = thresholds.joint_drift
    if joint_drift.reason:
        return [Score(name=JOINT, value=None, note=joint_drift.reason)]
    if len(window) < MIN_VALUES:
        note = f"only {len(window)} rows, at least {MIN_VALUES} are needed"
        return [Score(name=JOINT, value=None, threshold=1.0, note=note)]
    now, sized = joint_drift.of_window(window), thresholds.of(len(window))
    changes_by_measure = np.abs(now - joint_drift.of_reference)
    ratios = np.divide(
        changes_by_measure,
        sized.joint,
        out=np.zeros_like(changes_by_measure),
        where=sized.joint > 0,
    )
    order = np.argsort(-ratios, kind="stable")
    greatest_change = joint_drift.change(int(order[0]), float(now[order[0]]))
    score = _ratio_score(JOINT, float(ratios[order[0]]), str(greatest_change))
    if not score.breached:
        return [score]
    changes = [joint_drift.change(int(place), float(now[place])) for place in order]
    return [score, *_columns(changes, ratios[order])]


def _columns(changes: Sequence[JointChange], ratios: Sequence[float]) -> list[Score]:
    """Score the columns with the greatest changes of correlation, each by its greatest change."""
    greatest: dict[str, Score] = {}
    for change, ratio in zip(changes, ratios, strict=True):
        for column in change.columns:
            if ratio >= 1 and len(greatest) < _SHOWN and column not in greatest:
                greatest[column] = _ratio_score(MOVED, float(ratio), str(change), column)
    return list(greatest.values())


def _ratio_score(name: str, ratio: float, text: str, column: str = "") -> Score:
    value = significant(ratio, 6)
    return Score(
        name=name, column=column, value=value, threshold=1.0, breached=value >= 1, note=text
    )


def _budget(baseline: Baseline, sized: WindowThresholds) -> Score:
    """Return the false-alarm budget as a score."""
    policy = baseline.manifest.monitoring
    text = (
        f"{budget_text(policy)}; a window without drift breaks the drift rule with a chance of at "
        f"most {level(baseline.manifest):.2g}"
    )
    if not sized.met:
        text += "; the limits in drift_thresholds exceed it"
    if sized.seasonal:
        text += "; the reference varies with time (a season or a trend), so limits are wider"
    return Score(name=BUDGET, value=significant(false_alarms(policy), 6), note=text)
