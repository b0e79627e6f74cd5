"""Severity of a drift score, and the order in which pages, alarms and webhooks list columns."""

import math
from collections.abc import Mapping

from monitoring.results import EFFECT, MOVED, STRONGEST, Result, Score

MOST_SEVERE = 99.0


def severity(score: Score | None) -> float | None:
    """Return a drift statistic in multiples of its threshold; None if the score has no value.

    A severity of 1 or more is drift. A p-value falls as drift grows. The statistic is a p-value
    if it is breached below its threshold, or not breached above its threshold.
    """
    if score is None or score.value is None or not math.isfinite(score.value):
        return None
    if score.threshold is None or not score.threshold > 0:
        return 1.0 if score.breached else 0.0
    if score.breached == (score.value >= score.threshold):
        measured = score.value / score.threshold
    else:
        measured = _p_value_severity(score.value, score.threshold)
    return max(measured, 1.0) if score.breached else min(max(measured, 0.0), 0.999)


def column_order(
    column: str, drift: Score | None, effects: Mapping[str, float]
) -> tuple[float, float, str]:
    """Return the key that sorts columns: effect on predictions, then severity, then name."""
    drifted = drift is not None and drift.breached
    measured = severity(drift)
    return (
        -effects.get(column, 0.0) if drifted else 0.0,
        1.0 if measured is None else -measured,
        column,
    )


def effects_by_column(result: Result) -> dict[str, float]:
    """Return each column's effect of drift on the predictions, as far as it was measured."""
    return {
        score.column: score.value
        for score in result.scores
        if score.name == EFFECT and score.column and score.value is not None
    }


def drifted_columns(result: Result) -> list[Score]:
    """Return the breached drift scores, sorted by `column_order`."""
    effects = effects_by_column(result)
    drifted = [score for score in result.scores if score.name == "drift" and score.breached]
    return sorted(drifted, key=lambda score: column_order(score.column, score, effects))


def largest_drift(result: Result) -> list[Score]:
    """Return a score for every column that an alarm names, largest drift first.

    An alarm names the drifted columns. If there are none, it names the columns whose correlations
    changed. If the strongest column is not among them, its missing values changed, and it comes
    first.
    """
    changed = [score for score in result.scores if score.name == MOVED and score.column]
    drifted = drifted_columns(result) or sorted(
        changed, key=lambda score: column_order(score.column, score, {})
    )
    strongest = _strongest_column(result)
    if strongest is None or strongest.column in {score.column for score in drifted}:
        return drifted
    return [strongest, *drifted]


def _strongest_column(result: Result) -> Score | None:
    """Return a score of the column that the breached score `STRONGEST` is about, or None.

    The note of `STRONGEST` starts with the column's name.
    """
    strongest = next((s for s in result.scores if s.name == STRONGEST and s.breached), None)
    if strongest is None:
        return None
    about = [
        score
        for score in result.scores
        if score.column and not score.segment and strongest.note.startswith(f"{score.column} ")
    ]
    if not about:
        return None
    name = max((score.column for score in about), key=len)
    by_name = {score.name: score for score in about if score.column == name}
    return by_name.get("missing_share") or by_name.get("drift") or next(iter(by_name.values()))


def _p_value_severity(p: float, threshold: float) -> float:
    if p <= 0 or threshold >= 1:
        return MOST_SEVERE
    return min(math.log(p) / math.log(threshold), MOST_SEVERE)
