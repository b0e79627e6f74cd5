"""Judge each rule on one window: broken, kept, or not enough data. Pure.

A rule is broken if its score is beyond the limit, and kept if the score is within the limit. A
window's verdict and alarms follow from the same judgements. The verdict describes one window; an
alarm needs several windows (alarm_lifecycle.py).

- A window that has too few rows, or no score that the rule judges, is not enough data.
- Rules about labels are judged by the score's value once half of the rows are labelled. With fewer
  labels, the rule is broken only if the whole confidence interval is beyond the limit. Once no
  further label is expected, the rule is kept if the whole interval is within the limit. Any other
  interval is not enough data.
- The estimated performance is judged only until the labels can be judged.
- A window in which every request was refused is degraded, although no rule can judge it.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from msgspec.structs import replace

from monitoring.alarms.facts import AlarmFacts
from monitoring.alarms.severity import largest_drift
from monitoring.results import (
    ESTIMATED,
    EVIDENCE,
    JOINT,
    PARITY,
    PERFORMANCE,
    SELECTION_GAP,
    STRONGEST,
    TRAFFIC,
    TRUE_POSITIVE_GAP,
    Alarm,
    Result,
    Rule,
    Score,
    Verdict,
)
from registry.manifest import AlarmPolicy

Judgement = Literal["broken", "kept", "not enough data"]

_OF_WHOLE: dict[str, Rule] = {  # score of the whole window -> the rule that judges it
    **dict.fromkeys(("drifted_share", STRONGEST, JOINT), "drift"),  # any of the three is enough
    EVIDENCE: "concept",  # a single gap breaks no rule; the evidence accumulates gaps
    **dict.fromkeys(PERFORMANCE, "performance"),
    **dict.fromkeys((ESTIMATED + name for name in PERFORMANCE), "estimate"),
    PARITY: "parity",
    TRAFFIC: TRAFFIC,
}
_OF_GROUPS: dict[str, Rule] = {  # score of a segment -> the rule that judges it
    **dict.fromkeys(PERFORMANCE, "segment"),
    SELECTION_GAP: SELECTION_GAP,
    TRUE_POSITIVE_GAP: TRUE_POSITIVE_GAP,
}
BY_LABELS: tuple[Rule, ...] = ("performance", "concept", "segment", TRUE_POSITIVE_GAP)
_ENOUGH_LABELS = 0.5  # minimum share of labelled rows for judging measured values
_ENOUGH_REVIEWED = 30  # minimum rows labelled through the review queue
_ENOUGH_REQUESTS = 30  # minimum requests for the verdict "degraded" if every request was refused


def verdict(result: Result, policy: AlarmPolicy, *, learning: bool = False) -> Verdict:
    """Return one window's verdict, the worst of its judgements.

    `learning` is True while the baseline that the window would be compared with is incomplete.
    """
    if all_refused(result, policy):
        return "degraded"
    judged = {rule: judgement(rule, result, policy) for rule in get_args(Rule)}
    broken = {rule for rule, outcome in judged.items() if outcome == "broken"}
    if broken - {"drift"}:
        return "degraded"
    if broken:
        return "drifted"
    is_kept = any(
        outcome == "kept" and any(score.threshold is not None for score in scores_of(rule, result))
        for rule, outcome in judged.items()
    )
    return "ok" if is_kept else "learning" if learning else "not enough data"


def judgement(rule: Rule, result: Result, policy: AlarmPolicy) -> Judgement:
    """Judge one rule on one window."""
    # The traffic rule is judged even with few rows, because it is about the number of requests.
    few = result.rows < policy.min_rows and rule != TRAFFIC
    if few or not scores_of(rule, result):
        return "not enough data"
    if rule == "estimate" and judgement("performance", result, policy) != "not enough data":
        return "kept"  # the labels are judged instead, by the rule "performance"
    if rule in BY_LABELS and not has_enough_labels(result):
        return _judgement_with_few_labels(rule, result)
    return "broken" if breached(rule, result) else "kept"


def breached(rule: Rule, result: Result) -> Score | None:
    """Return a score that breaks the rule, or None; among segments, the worst score."""
    broken = [score for score in scores_of(rule, result) if score.breached]
    if rule in _OF_GROUPS.values():
        broken.sort(key=lambda score: (-_distance_from_limit(score), score.segment))
    return broken[0] if broken else None


def scores_of(rule: Rule, result: Result) -> list[Score]:
    """Return the scores that the rule judges, except scores without a value."""
    return [s for s in result.scores if s.value is not None and _rule_of(s) == rule]


def has_enough_labels(result: Result) -> bool:
    """Return whether the labelled rows represent their window."""
    if result.reviewed >= _ENOUGH_REVIEWED:  # selected to represent the window, and weighted
        return True
    return result.labelled > 0 and result.labelled >= _ENOUGH_LABELS * result.rows


def all_refused(result: Result, policy: AlarmPolicy) -> bool:
    """Return whether a window had enough requests to judge and every request was refused."""
    requests = sum(count for outcome, count in result.events.items() if outcome != "cancelled")
    return requests >= min(_ENOUGH_REQUESTS, policy.min_rows) and not result.events.get("ok")


def alarm_facts(alarm: Alarm, result: Result) -> AlarmFacts:
    """Return why `alarm` is open; `result` is its latest window's result and breaks the rule."""
    score = breached(alarm.rule, result)
    assert score is not None
    drift = [score for score in result.scores if score.name == "drift" and score.value is not None]
    return AlarmFacts(
        rule=alarm.rule,
        score=score,
        since=alarm.since,
        labelled=result.labelled,
        scored=len(drift),
        drifted=sum(score.breached for score in drift),
        columns=largest_drift(result),
    )


def with_evidence(result: Result, evidence: Sequence[Score]) -> Result:
    """Return the result with its evidence of concept drift replaced."""
    return replace(result, scores=[s for s in result.scores if s.name != EVIDENCE] + [*evidence])


def _judgement_with_few_labels(rule: Rule, result: Result) -> Judgement:
    """Judge a rule about labels by the confidence interval, because few rows are labelled.

    Only "performance" needs the interval. The other rules' scores already account for it, and
    these rules are judged only once no further label is expected.
    """
    is_broken = breached(rule, result)
    final = result.pending == 0
    if rule != "performance":
        return "not enough data" if not final else "broken" if is_broken else "kept"
    limited = [score for score in scores_of(rule, result) if score.threshold is not None]
    if not limited or not _is_interval_on_one_side(limited[0]):
        return "not enough data"
    if is_broken is not None:
        return "broken"
    return "kept" if final else "not enough data"


def _is_interval_on_one_side(score: Score) -> bool:
    """Return whether the whole interval is on the same side of the limit as the value."""
    if None in (score.value, score.threshold, score.low, score.high):
        return False
    assert score.value is not None
    assert score.threshold is not None
    assert score.low is not None
    assert score.high is not None
    below = score.value < score.threshold
    return score.high < score.threshold if below else score.low > score.threshold


def _rule_of(score: Score) -> Rule | None:
    """Return the rule that judges a score; None if the score is only displayed."""
    if score.of_whole:
        return _OF_WHOLE.get(score.name)
    of_group = score.segment and not score.column and score.threshold is not None
    return _OF_GROUPS.get(score.name) if of_group else None


def _distance_from_limit(score: Score) -> float:
    """Return the distance between a score's value and its limit."""
    return abs((score.value or 0.0) - (score.threshold or 0.0))
