"""Decide when results become alarms.

Each window breaks or keeps a rule. A window with too few rows, or without the score that the rule
judges, is not enough data: it neither breaks nor keeps the rule.
An alarm fires once the rule was broken in `consecutive` windows in a row and resolves once it was
kept in as many. Its id is derived from its cause, so the same cause never raises two. A rule that
resolved is quiet for the time of its cool-down.
"""

from hashlib import sha256
from typing import get_args

import msgspec

from monitoring.alarms.facts import AlarmFacts
from monitoring.alarms.severity import largest_drift
from monitoring.results import (
    ERROR_GAP,
    ESTIMATED,
    EVIDENCE,
    GAP,
    JOINT,
    PARITY,
    PERFORMANCE,
    SELECTION_GAP,
    STRONGEST,
    TRUE_POSITIVE_GAP,
    Alarm,
    Result,
    Rule,
    Score,
    Verdict,
    Window,
)
from monitoring.windows.grid import SECOND
from registry.manifest import AlarmPolicy

_OF_WHOLE: dict[str, Rule] = {  # which rule a figure is judged by
    **dict.fromkeys(("drifted_share", STRONGEST, JOINT), "drift"),  # each alone is enough
    **dict.fromkeys((GAP, ERROR_GAP, EVIDENCE), "concept"),
    **dict.fromkeys(PERFORMANCE, "performance"),
    **dict.fromkeys((ESTIMATED + name for name in PERFORMANCE), "estimate"),
    PARITY: "parity",
}
_OF_GROUPS: dict[str, Rule] = {
    **dict.fromkeys(PERFORMANCE, "segment"),
    SELECTION_GAP: SELECTION_GAP,
    TRUE_POSITIVE_GAP: TRUE_POSITIVE_GAP,
}
_ENOUGH_LABELS = 0.5  # share of a window's rows whose labels must be known to judge performance


class Streak(msgspec.Struct, frozen=True):
    """The windows in a row that broke or kept one rule of one model version."""

    broken: int = 0  # windows in a row
    kept: int = 0
    first: Window | None = None  # of the broken ones
    open_alarm: str = ""  # id of the alarm that is not resolved
    evidence: dict[str, list[float]] = {}  # of lasting gaps, see evidence.py
    quiet_until: int = 0  # event time: an alarm that resolved cools down


def verdict(result: Result, policy: AlarmPolicy) -> Verdict:
    """One window's verdict by itself, before hysteresis."""
    if result.rows < policy.min_rows:
        return "not enough data"
    if any(breached(rule, result) for rule in get_args(Rule) if rule != "drift"):
        return "degraded"
    if breached("drift", result):
        return "drifted"
    return "ok" if any(_judged(score) for score in result.scores) else "not enough data"


def breached(rule: Rule, result: Result) -> Score | None:
    """The score that broke this rule; an estimate does not count once its labels are known.

    Of several groups, or pairs of them, the one furthest beyond its limit.
    """
    broken = [
        score
        for score in result.scores
        if score.breached
        and _rule_of(score) == rule
        and not (rule == "estimate" and _is_known(score, result))
    ]
    if rule in _OF_GROUPS.values():
        broken.sort(key=lambda score: (-_beyond(score), score.segment))
    return broken[0] if broken else None


def _judged(score: Score) -> bool:
    """Whether it could have broken a rule."""
    has_limit = score.value is not None and score.threshold is not None
    return has_limit and _rule_of(score) is not None


def _can_judge(rule: Rule, result: Result) -> bool:
    """Whether the window has a value that this rule judges."""
    return any(score.value is not None and _rule_of(score) == rule for score in result.scores)


def _rule_of(score: Score) -> Rule | None:
    """The rule that a score is judged by; None: it is there to be read."""
    if score.of_whole:
        return _OF_WHOLE.get(score.name)
    of_group = score.segment and not score.column and score.threshold is not None
    return _OF_GROUPS.get(score.name) if of_group else None


def _beyond(score: Score) -> float:
    """How far a figure lies from its limit."""
    return abs((score.value or 0.0) - (score.threshold or 0.0))


def _is_known(estimate: Score, result: Result) -> bool:
    name = estimate.name.removeprefix(ESTIMATED)
    return any(
        score.name == name and score.of_whole and score.value is not None for score in result.scores
    )


def can_judge_performance(result: Result, policy: AlarmPolicy) -> bool:
    """Whether enough labels are known."""
    return result.rows >= policy.min_rows and result.labelled >= _ENOUGH_LABELS * result.rows


def judge(
    streak: Streak, alarm: Alarm | None, rule: Rule, result: Result, policy: AlarmPolicy
) -> tuple[Streak, Alarm | None]:
    """Return the streak after this window, and the alarm that fires, stays open or resolves.

    `alarm` is the open one that the streak names, as it is now (it may be acknowledged).
    """
    if result.rows < policy.min_rows or not _can_judge(rule, result):
        return streak, None
    if rule == "concept":
        result = _without_gaps(result)
        policy = msgspec.structs.replace(policy, consecutive=1)
        if not _can_judge(rule, result):
            return streak, None
    if breached(rule, result):
        return _broken(streak, alarm, rule, result, policy)
    return _kept(streak, alarm, result, policy)


def facts(alarm: Alarm, result: Result) -> AlarmFacts:
    """State why `alarm` is open; `result` is of its latest window and broke the rule."""
    score = breached(alarm.rule, _without_gaps(result) if alarm.rule == "concept" else result)
    assert score is not None
    drift = [one for one in result.scores if one.name == "drift" and one.value is not None]
    return AlarmFacts(
        rule=alarm.rule,
        score=score,
        since=alarm.since,
        labelled=result.labelled,
        scored=len(drift),
        drifted=sum(one.breached for one in drift),
        columns=largest_drift(result),
    )


def _broken(
    streak: Streak, alarm: Alarm | None, rule: Rule, result: Result, policy: AlarmPolicy
) -> tuple[Streak, Alarm | None]:
    first = streak.first or result.window
    broken = streak.broken + 1
    after = msgspec.structs.replace(streak, broken=broken, kept=0, first=first)
    cools = result.window.start < streak.quiet_until
    if alarm is None and (broken < policy.consecutive or cools):
        return after, None
    fired = Alarm(
        alarm_id=alarm.alarm_id if alarm else _alarm_id(result, rule, first),
        model=result.model,
        version=result.version,
        rule=rule,
        state=alarm.state if alarm else "firing",
        since=first,
        latest=result.window,
        columns=[score.column for score in largest_drift(result)[:3]],
        severity="critical" if rule in policy.critical else "warning",
        steps=alarm.steps if alarm else [],
        policy=result.policy,
    )
    return msgspec.structs.replace(after, open_alarm=fired.alarm_id), fired


def _kept(
    streak: Streak, alarm: Alarm | None, result: Result, policy: AlarmPolicy
) -> tuple[Streak, Alarm | None]:
    kept = streak.kept + 1
    if alarm is None:
        return msgspec.structs.replace(streak, broken=0, kept=kept, first=None), None
    if kept < policy.consecutive:
        return msgspec.structs.replace(streak, broken=0, kept=kept), None
    quiet_until = result.window.end + policy.cool_down * SECOND
    resolved = msgspec.structs.replace(alarm, state="resolved", policy=result.policy)
    return Streak(kept=kept, quiet_until=quiet_until), resolved


def _alarm_id(result: Result, rule: Rule, first: Window) -> str:
    cause = f"{result.model}/{result.version}/{rule}/{first.start}"
    return "al_" + sha256(cause.encode()).hexdigest()[:20]


def _without_gaps(result: Result) -> Result:
    """The window without single gaps: evidence accumulates them over windows (evidence.py)."""
    scores = [score for score in result.scores if score.name not in (GAP, ERROR_GAP)]
    return msgspec.structs.replace(result, scores=scores)
