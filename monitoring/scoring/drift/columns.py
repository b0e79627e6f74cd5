"""Drift of every feature, of the prediction and of its score, against the reference.

Columns are looked at one by one first: what cannot be scored is said with its reason, and never
loses the window. Missing values are left out here; their share is a matter of quality.py.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.results import Score
from monitoring.scoring.drift.evidently_adapter import ColumnTest, Drift, test_columns
from monitoring.scoring.drift.thresholds import Thresholds
from monitoring.scoring.drift.whole_window import score_whole
from monitoring.scoring.reference import Baseline, Column, clean
from monitoring.scoring.score_rules import SMALLEST, failure, significant
from registry.payload import withheld
from registry.validation import UNFIT_METHODS


def score_drift(
    baseline: Baseline, thresholds: Thresholds, window: pd.DataFrame, html: Path | None
) -> list[Score]:
    """One "drift" score per column, "drifted_share" of the features that could be scored, and the
    scores of the whole (see whole.py).
    """
    hidden = withheld(baseline.manifest)
    current: dict[str, pd.Series[Any]] = {}
    reference: dict[str, pd.Series[Any]] = {}
    tests: list[ColumnTest] = []
    alone: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for column in baseline.columns:
        try:
            now, then = clean(window[column.stored], column), thresholds.expected(column)
            method = thresholds.method(column)
            reason = hidden.get(column.name) or UNFIT_METHODS.get(method) or unscorable(now, then)
            if not reason:
                limits = thresholds.of_column(column, len(window), int(now.count()))
                tests.append(_test(thresholds, column, limits.drifted))
                if limits.alone is not None:
                    alone[column.name] = limits.alone
                current[column.name], reference[column.name] = now, then
        except Exception as error:  # noqa: BLE001 - the other columns must not suffer
            reason = failure(error)
        if reason:
            reasons[column.name] = reason
    outcomes: dict[str, Drift | str] = {}
    if tests:
        outcomes = test_columns(tests, pd.DataFrame(current), pd.DataFrame(reference), html)
    scores = [_score(column, outcomes, reasons) for column in baseline.columns]
    whole = score_whole(baseline, thresholds, window, scores, alone)
    return [*scores, _share(baseline, scores), *whole]


def _test(thresholds: Thresholds, column: Column, limit: float | None) -> ColumnTest:
    return ColumnTest(column.name, column.kind == "categorical", thresholds.method(column), limit)


def unscorable(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> str:
    """Why a column cannot be scored, empty where it can."""
    known, expected = current.dropna(), reference.dropna()
    if expected.empty:
        return "all values are missing in the reference"
    if known.empty:
        return "all values are missing"
    if len(known) < SMALLEST:
        return f"only {len(known)} values, at least {SMALLEST} are needed"
    if known.nunique() == 1 and expected.nunique() == 1 and known.iloc[0] == expected.iloc[0]:
        return "constant, as in the reference"
    return ""


def _score(column: Column, outcomes: dict[str, Drift | str], reasons: dict[str, str]) -> Score:
    outcome = outcomes.get(column.name, reasons.get(column.name, ""))
    if isinstance(outcome, str):
        return Score(name="drift", column=column.name, value=None, note=outcome)
    return Score(
        name="drift",
        column=column.name,
        value=significant(outcome.value),
        method=outcome.method,
        threshold=outcome.threshold,
        breached=outcome.drifted,
    )


def _share(baseline: Baseline, scores: list[Score]) -> Score:
    features = {feature.name for feature in baseline.features}
    scored = [s for s in scores if s.column in features and s.value is not None]
    threshold = baseline.manifest.monitoring.alarms.drifted_share
    if not scored:
        return Score(
            name="drifted_share", value=None, threshold=threshold, note="no feature can be scored"
        )
    share = sum(score.breached for score in scores if score in scored) / len(scored)
    return Score(
        name="drifted_share", value=share, threshold=threshold, breached=share >= threshold
    )
