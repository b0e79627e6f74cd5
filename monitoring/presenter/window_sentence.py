"""Summary of a window's result in one sentence."""

from monitoring.alarms.decision import breached
from monitoring.alarms.severity import drifted_columns
from monitoring.presenter.formats import figure, number, percent, several, value_and_limit
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import (
    ESTIMATED,
    JOINT,
    LEARNED_ROWS,
    SELECTION_GAP,
    TRUE_POSITIVE_GAP,
    Result,
    Rule,
    Score,
)

_GROUPS: dict[Rule, str] = {
    "segment": "performance degraded for",
    SELECTION_GAP: "unequal selection rates by",
    TRUE_POSITIVE_GAP: "unequal true-positive rates by",
}
_SHOWN = 3  # maximum columns that a sentence names


def window_sentence(result: Result, chief: Score | None) -> str:
    """Return a window's summary; `chief` is the performance score that it states, if any."""
    if refused := _refused(result):
        return refused
    parts = [part for part in (_rows(result), _drift(result)) if part]
    if chief is not None and chief.value is not None:
        parts.append(_score(chief))
    if fault := breached("parity", result):
        parts.append(f"{percent(fault.value)} of predictions differ from the registered model")
    for rule, words in _GROUPS.items():
        if score := breached(rule, result):
            parts.append(f"{words} {score.segment} ({figure(score.value)})")
    if breached("concept", result):
        parts.append("more errors than the inputs explain")
    if (chief is None or chief.value is None) and (estimate := breached("estimate", result)):
        name = PERFORMANCE[estimate.name.removeprefix(ESTIMATED)]
        labels = several(result.labelled, "label") if result.labelled else "no labels yet"
        parts.append(f"{name} estimated {figure(estimate.value)}, {labels}")
    return f"{'; '.join(parts) or 'Nothing was scored'}."


def _refused(result: Result) -> str:
    """State that no request was answered; return "" if any request was answered."""
    if result.verdict != "degraded" or result.events.get("ok"):
        return ""
    outcomes = ", ".join(f"{number(n)} {outcome}" for outcome, n in result.events.items() if n)
    return f"No request was answered: {outcomes}." if outcomes else ""


def _rows(result: Result) -> str:
    if result.verdict == "learning":
        return _learning(result)
    share = _drifted_share(result)
    if result.verdict != "not enough data" or (share is not None and share.value is None):
        return ""
    return f"Not enough data: {several(result.rows, 'row')}"


def _learning(result: Result) -> str:
    """State the progress of learning the baseline."""
    learned = next((score for score in result.scores if score.name == LEARNED_ROWS), None)
    if learned is None:
        return f"Learning the baseline: {several(result.rows, 'row')} in this window"
    if learned.value is None:
        return f"Learning the baseline: {learned.note}"
    rows = f"{number(int(learned.value))} of at least {number(int(learned.threshold or 0))} rows"
    return f"Learning the baseline: {rows}, {learned.note}"


def _drift(result: Result) -> str:
    share = _drifted_share(result)
    if drifted := [score.column for score in drifted_columns(result)]:
        names = ", ".join(drifted[:_SHOWN]) + (", …" if len(drifted) > _SHOWN else "")
        if share is not None and share.note:  # it counts features; `drifted` includes predictions
            return f"{share.note} drifted; largest drift: {names}"
        return f"{several(len(drifted), 'column')} drifted: {names}"
    if strong := breached("drift", result):
        what = "Feature correlations changed" if strong.name == JOINT else "Drift in one column"
        return f"{what}: {strong.note}"
    if share is not None and share.value is None:
        return f"Drift was not scored: {share.note}"
    return "No column drifted" if result.verdict == "ok" else ""


def _score(score: Score) -> str:
    if score.value is None or score.threshold is None:
        return f"{PERFORMANCE[score.name]} {figure(score.value)}"
    value, limit = value_and_limit(score.value, score.threshold)
    return f"{PERFORMANCE[score.name]} {value} (limit {limit})"


def _drifted_share(result: Result) -> Score | None:
    shares = (s for s in result.scores if s.name == "drifted_share" and s.of_whole)
    return next(shares, None)
