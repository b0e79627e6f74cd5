"""Format an alarm's text: the problem with its number, the evidence and the columns.

A text has at most 40 words. The evidence is left out if the text would be longer.
"""

from collections.abc import Callable, Sequence

from monitoring.alarms.facts import AlarmFacts
from monitoring.presenter.formats import (
    day,
    moment,
    percent_and_limit,
    period,
    several,
    value_and_limit,
)
from monitoring.presenter.names import PERFORMANCE
from monitoring.results import (
    ESTIMATED,
    JOINT,
    SELECTION_GAP,
    STRONGEST,
    TRAFFIC,
    TRUE_POSITIVE_GAP,
    Alarm,
    RevisedWindow,
    Rule,
    Score,
)
from telemetry.clock import DAY

MOST_WORDS = 40
_SHOWN = 3  # maximum columns that a text names

Parts = tuple[str, str]  # sentence about the problem, and sentence about the evidence or ""


def alarm_sentence(facts: AlarmFacts) -> str:
    """Return an alarm's text without later revisions of its windows."""
    wrong, evidence = _PARTS[facts.rule](facts)
    columns = _columns(facts)
    whole = " ".join(part for part in (wrong, evidence, columns) if part)
    if len(whole.split()) <= MOST_WORDS:
        return whole
    return " ".join(part for part in (wrong, columns) if part)


def alarm_text(alarm: Alarm) -> str:
    """Return an alarm's text, followed by the outcome of later revisions of its windows."""
    note = _revisions(alarm.revised)
    return f"{alarm.sentence} {note}" if note else alarm.sentence


def _revisions(revised: Sequence[RevisedWindow]) -> str:
    if not revised:
        return ""
    resolved_windows = [entry.window for entry in revised if not entry.broken]
    windows = several(len(revised), "window")
    if not resolved_windows:
        return f"Revised since with later labels: {windows}, still beyond the limit."
    if len(resolved_windows) == 1:
        return f"Revised since: {period(resolved_windows[0])} is no longer beyond the limit."
    return f"Revised since: {several(len(resolved_windows), 'window')} no longer beyond the limit."


def _columns(facts: AlarmFacts) -> str:
    if facts.rule == "drift" and facts.score.name not in (STRONGEST, JOINT):
        columns = [_with_limit(score) for score in facts.columns[:_SHOWN]]
    else:
        columns = [score.column for score in facts.columns[:_SHOWN]]
    if not columns:
        return ""
    return f"Largest drift: {', '.join(columns)}."


def _with_limit(score: Score) -> str:
    if score.value is None or score.threshold is None:
        return score.column
    value, limit = value_and_limit(score.value, score.threshold)
    return f"{score.column} {value} (limit {limit})"


def _drift(facts: AlarmFacts) -> Parts:
    since, note = _since(facts), facts.score.note
    if facts.score.name == STRONGEST:
        return f"Drift in one column {since}: {note}.", ""
    if facts.score.name == JOINT:
        return f"Feature correlations changed {since}: {note}.", ""
    # Results of earlier releases have no note, and their count includes prediction columns.
    count = note or f"{facts.drifted} of {several(facts.scored, 'column')}"
    return f"Drift {since}: {count} differ from the reference.", ""


def _concept(facts: AlarmFacts) -> Parts:
    value, limit = _value_and_threshold(facts.score)
    note = _with_display_name(facts.score.note)
    return (
        f"Concept drift {_since(facts)}: {note} ({_label_count(facts)}).",
        f"Evidence: 1 false alarm in {value:,.0f} windows (limit {limit:,.0f}).",
    )


def _performance(facts: AlarmFacts) -> Parts:
    return f"Performance degraded {_since(facts)}: {_metric_text(facts, _label_count(facts))}.", ""


def _estimate(facts: AlarmFacts) -> Parts:
    figures = _metric_text(facts, _label_count(facts) if facts.labelled else "no labels yet")
    return f"Estimated performance degraded {_since(facts)}: {figures}.", ""


def _segment(facts: AlarmFacts) -> Parts:
    group = facts.score.segment
    return f"Performance degraded for {group} {_since(facts)}: {_metric_text(facts)}.", ""


def _parity(facts: AlarmFacts) -> Parts:
    value, limit = percent_and_limit(*_value_and_threshold(facts.score))
    differing = f"{value} of predictions cannot be reproduced ({facts.score.note}; limit {limit})"
    return (
        f"Served predictions differ from the registered model {_since(facts)}: {differing}.",
        "The cause is serving, not the data.",
    )


def _group_gap(facts: AlarmFacts) -> Parts:
    rates = "selection rates" if facts.rule == SELECTION_GAP else "true-positive rates"
    value, limit = value_and_limit(*_value_and_threshold(facts.score))
    wrong = f"Unequal treatment by {facts.score.segment} {_since(facts)}"
    return (
        f"{wrong}: {rates} differ by {value} (limit {limit}).",
        f"Evidence: {facts.score.note}." if facts.score.note else "",
    )


def _traffic(facts: AlarmFacts) -> Parts:
    score = facts.score
    span = "24 hours" if score.method == "day" else "an hour"
    requests = round(score.value or 0)
    wrong = "No requests"
    if requests:
        more = score.high is not None and requests >= score.high
        wrong = "More requests than usual" if more else "Fewer requests than usual"
    volume = f"{several(requests, 'request')} in {span}" if requests else f"none in {span}"
    limit = f"limit {score.threshold or 0:,.0f}"
    if score.note:
        return f"{wrong} {_since(facts)}: {volume} (expected {_count(score.note)}, {limit}).", ""
    wrong = "Fewer requests than the policy's minimum" if requests else wrong
    return f"{wrong} {_since(facts)}: {volume} (minimum {score.threshold or 0:,.0f}).", ""


def _count(note: str) -> str:
    """Format an expected number of requests; small numbers have one decimal."""
    count = float(note)
    return f"{count:,.0f}" if count >= 10 else f"{count:.1f}"


_PARTS: dict[Rule, Callable[[AlarmFacts], Parts]] = {
    "drift": _drift,
    "concept": _concept,
    "performance": _performance,
    "estimate": _estimate,
    "segment": _segment,
    "parity": _parity,
    SELECTION_GAP: _group_gap,
    TRUE_POSITIVE_GAP: _group_gap,
    TRAFFIC: _traffic,
}


def _metric_text(facts: AlarmFacts, more: str = "") -> str:
    """Return a metric with its limit: "ROC AUC 0.600 (limit 0.700, 1,200 labels)"."""
    score = facts.score
    value, limit = value_and_limit(*_value_and_threshold(score))
    name = score.name.removeprefix(ESTIMATED)
    about = ", ".join(part for part in (f"limit {limit}", score.note, more) if part)
    return f"{PERFORMANCE.get(name, name)} {value} ({about})"


def _value_and_threshold(score: Score) -> tuple[float, float]:
    return score.value or 0.0, score.threshold or 0.0


def _with_display_name(note: str) -> str:
    """Return the note with its first word, a metric, replaced by the metric's display name."""
    name, space, rest = note.partition(" ")
    return f"{PERFORMANCE.get(name, name)}{space}{rest}"


def _label_count(facts: AlarmFacts) -> str:
    return several(facts.labelled, "label")


def _since(facts: AlarmFacts) -> str:
    start = facts.since.start
    return f"since {day(start) if start % DAY == 0 else moment(start)}"
