"""Everything that decides when results become alarms lives here.

A rule is broken or kept by each window in turn; a window with too few rows, or without the score
that the rule is about, is not enough data and says nothing either way.
An alarm fires once the rule was broken in `consecutive` windows in a row and resolves once it was
kept in as many. Its id is derived from its cause, so the same cause never raises two. A rule that
resolved is quiet for the time of its cool-down.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import get_args

import msgspec

from monitoring.alarms.severity import severity
from monitoring.results import (
    EFFECT,
    ERROR_GAP,
    ESTIMATED,
    EVIDENCE,
    GAP,
    JOINT,
    MOVED,
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
    """How one rule has fared for one model version."""

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
    """The score that broke this rule; an estimate says nothing beside the truth.

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


def _has_value(rule: Rule, result: Result) -> bool:
    """Return whether the window has a score that this rule is judged by."""
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
    """The streak after this window, and the alarm that fires, goes on or resolves with it.

    `alarm` is the open one that the streak names, as it is now (it may be acknowledged).
    """
    if result.rows < policy.min_rows or not _has_value(rule, result):
        return streak, None
    if rule == "concept":
        # Evidence has been weighed over windows already (evidence.py), single gaps say nothing.
        scores = [score for score in result.scores if score.name not in (GAP, ERROR_GAP)]
        result = msgspec.structs.replace(result, scores=scores)
        policy = msgspec.structs.replace(policy, consecutive=1)
        if not _has_value(rule, result):
            return streak, None
    if breached(rule, result):
        return _broken(streak, alarm, rule, result, policy)
    return _kept(streak, alarm, result, policy)


def worst(result: Result) -> list[Score]:
    """The drift scores that broke their threshold: the one that changes most answers first.

    Where that is not known, or the same, the most severe first.
    """
    broken = [score for score in result.scores if score.name == "drift" and score.breached]
    effects = {score.column: score.value or 0.0 for score in result.scores if score.name == EFFECT}
    return sorted(
        broken, key=lambda one: (-effects.get(one.column, 0.0), -(severity(one) or 0.0), one.column)
    )


def moved(result: Result) -> list[Score]:
    """The columns to name: those that drifted, else those that go together otherwise."""
    joint = [score for score in result.scores if score.name == MOVED]
    return worst(result) or sorted(
        joint, key=lambda score: (-(severity(score) or 0.0), score.column)
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
        sentence=_sentence(rule, result, first),
        columns=[score.column for score in moved(result)[:3]],
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


def _sentence(rule: Rule, result: Result, first: Window) -> str:
    what = _drift_sentence(result) if rule == "drift" else _score_sentence(rule, result)
    if rule != "drift" and (most := moved(result)[:3]):
        what += f"; moved most: {', '.join(score.column for score in most)}"
    when = f"In the window from {_day(result.window.start)}, {what}"
    if first == result.window:
        return f"{when}."
    return f"{when}; first seen in the window from {_day(first.start)}."


def _drift_sentence(result: Result) -> str:
    broken = breached("drift", result)
    if broken is not None and broken.name == STRONGEST:
        return f"one column alone moved far from the reference: {broken.note}"
    if broken is not None and broken.name == JOINT:
        return f"columns go together otherwise than in the reference: {broken.note}"
    drifted = worst(result)
    scored = sum(s.name == "drift" and s.value is not None for s in result.scores)
    most = ", ".join(f"{s.column} {s.value:.2f} (allowed {s.threshold:.2f})" for s in drifted[:3])
    return f"{len(drifted)} of {scored} columns drifted from the reference, most of all {most}"


def _score_sentence(rule: Rule, result: Result) -> str:
    score = breached(rule, result)
    assert score is not None
    assert score.value is not None
    threshold = score.threshold or 0
    if rule == "concept":
        return (
            f"the labels have lastingly shown more errors than the inputs explain: {score.note}, "
            f"on {result.labelled:,} labelled rows; by chance, gaps like those of the last windows "
            f"come once in {score.value:,.0f} windows (once in {threshold:,.0f} is enough)"
        )
    if rule == "parity":
        return (
            f"{score.value:.1%} of the logged answers are not those of the registered model to the "
            f"same inputs ({score.note}), where at most {threshold:.1%} may differ: serving is at "
            "fault, not the data"
        )
    if rule in {SELECTION_GAP, TRUE_POSITIVE_GAP}:
        rate = "selection rate" if rule == SELECTION_GAP else "true-positive rate"
        return (
            f"the {rate} lies {score.value:.3f} apart between groups of {score.segment} "
            f"({score.note}), where at most {threshold:.3f} is allowed"
        )
    limit = "at least" if score.value < threshold else "at most"
    wanted = f"where {limit} {threshold:.3f} is wanted"
    against = f" ({score.note})" if score.note else ""
    if rule == "segment":
        return f"{score.name} was {score.value:.3f} for {score.segment} {wanted}{against}"
    if rule == "estimate":
        name = score.name.removeprefix(ESTIMATED)
        told = f"{name} is estimated at {score.value:.3f}"
        return f"{told} {wanted}{against}; its labels are not known yet"
    rows = f"on {result.labelled:,} labelled rows"
    return f"{score.name} was {score.value:.3f} {wanted}{against}, {rows}"


def _day(time: int) -> str:
    moment = datetime.fromtimestamp(time / 1e6, UTC)
    return f"{moment.day} {moment:%B %Y}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M} UTC"
