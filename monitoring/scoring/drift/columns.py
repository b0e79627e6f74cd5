"""Score the drift of every feature, of the prediction and of its probability.

A column that cannot be scored gets a note with the reason, and the other columns are scored
regardless. Missing values are excluded here; `quality.py` scores their share.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.results import Score
from monitoring.scoring.drift.evidently_adapter import (
    ColumnDrift,
    ColumnTest,
    test_columns,
)
from monitoring.scoring.drift.report import Tested, write_drift_report
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.drift.whole_window import score_whole
from monitoring.scoring.reference import Baseline, Column
from monitoring.scoring.score_rules import MIN_VALUES, failure_note
from monitoring.significant_digits import significant
from registry.payload import unmonitored
from registry.validation import UNFIT_METHODS


def score_drift(
    baseline: Baseline, thresholds: DriftThresholds, window: pd.DataFrame, html: Path | None
) -> list[Score]:
    """Score "drift" per column, "drifted_share" over features, and the window as a whole.

    If `html` is a path, Evidently's report is written there, bounded in size (`report.py`).
    """
    hidden = unmonitored(baseline.manifest)
    current: dict[str, pd.Series[Any]] = {}
    reference: dict[str, pd.Series[Any]] = {}
    tests: list[ColumnTest] = []
    alone: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for column in baseline.columns:
        reason = hidden.get(column.name) or UNFIT_METHODS.get(thresholds.method(column), "")
        try:
            if not reason:
                values = thresholds.values(column)
                window_values = values.current(window[column.stored])
                reference_values = values.expected
                reason = values.reason or reason_unscorable(window_values, reference_values)
            if not reason:
                limits = thresholds.of_column(column, len(window), int(window_values.count()))
                tests.append(_test(thresholds, column, limits.drifted))
                if limits.alone is not None:
                    alone[column.name] = limits.alone
                current[column.name], reference[column.name] = window_values, reference_values
        except Exception as error:  # noqa: BLE001 - the other columns are still scored
            reason = failure_note(error)
        if reason:
            reasons[column.name] = reason
    outcomes = test_columns(tests, current, reference)
    if html is not None:
        write_drift_report(baseline, thresholds, window, Tested(tests, outcomes), html)
    scores = [_score(column, outcomes, reasons) for column in baseline.columns]
    whole = score_whole(baseline, thresholds, window, scores, alone)
    return [*scores, _drifted_share(baseline, scores), *whole]


def _test(thresholds: DriftThresholds, column: Column, limit: float | None) -> ColumnTest:
    return ColumnTest(column.name, column.kind == "categorical", thresholds.method(column), limit)


def reason_unscorable(current: "pd.Series[Any]", reference: "pd.Series[Any]") -> str:
    """Return why a column cannot be scored, or "" if it can."""
    values, expected = current.dropna(), reference.dropna()
    if expected.empty:
        return "all values are missing in the reference"
    if values.empty:
        return "all values are missing"
    if len(values) < MIN_VALUES:
        return f"only {len(values)} values, at least {MIN_VALUES} are needed"
    if values.nunique() == 1 and expected.nunique() == 1 and values.iloc[0] == expected.iloc[0]:
        return "constant, as in the reference"
    return ""


def _score(
    column: Column, outcomes: dict[str, ColumnDrift | str], reasons: dict[str, str]
) -> Score:
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


def _drifted_share(baseline: Baseline, scores: list[Score]) -> Score:
    features = {feature.name for feature in baseline.features}
    scored = [s for s in scores if s.column in features and s.value is not None]
    threshold = baseline.manifest.monitoring.alarms.drifted_share
    if not scored:
        return Score(
            name="drifted_share", value=None, threshold=threshold, note="no feature can be scored"
        )
    drifted = sum(score.breached for score in scored)
    share = drifted / len(scored)
    return Score(
        name="drifted_share",
        value=share,
        threshold=threshold,
        breached=share >= threshold,
        note=f"{drifted} of {len(scored)} feature{'s' * (len(scored) != 1)}",
    )
