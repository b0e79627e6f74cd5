"""Sentences about a rule's progress towards firing or resolving its alarm."""

from collections.abc import Mapping, Sequence

from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.presenter.formats import moment, several
from monitoring.results import TRAFFIC, Rule
from registry.manifest import AlarmPolicy


def rule_sentence(rule: Rule, state: RuleState, policy: AlarmPolicy) -> str:
    """Return a rule's state, and how many windows fire or resolve its alarm."""
    broken, kept_run = state.run
    noun = "hour" if rule == TRAFFIC else "window"

    def _windows(count: int) -> str:
        return several(count, noun)

    enough = 1 if rule == "concept" else policy.consecutive
    if not broken and not kept_run:
        return "Not judged yet."
    if state.current == "firing":
        return f"Beyond its limit in the newest {_windows(broken)}. The alarm is open."
    if state.current == "recovering":
        return f"Within its limit in {kept_run} of the {_windows(enough)} that resolve the alarm."
    if state.current == "inactive":
        return f"Within its limit in the newest {_windows(kept_run)}."
    cools = bool(state.judged) and state.judged[-1].window.start < state.quiet_until
    if cools and broken >= enough:
        until = moment(state.quiet_until)
        return f"Beyond its limit in the newest {_windows(broken)}. It cools down until {until}."
    return f"Beyond its limit in {broken} of the {_windows(enough)} that fire an alarm."


def progress_to_alarm(states: Mapping[Rule, RuleState], policy: AlarmPolicy) -> str:
    """Return each pending rule's progress towards an alarm, or "" if no rule is pending."""
    pending = [rule for rule, state in states.items() if state.current == "pending"]
    return ", ".join(
        f"{rule} is beyond its limit in {states[rule].run[0]} of "
        f"{several(policy.consecutive, 'hour' if rule == TRAFFIC else 'window')}"
        for rule in pending
    )


def awaited_labels(ends: Sequence[int], wait: float) -> str:
    """State until when labels are awaited; return "" if no label is awaited.

    `ends` are the ends of the closed windows that await labels; `wait` is in seconds.
    """
    if not ends:
        return ""
    until = moment(max(ends) + int(wait * 1_000_000))
    return f"Labels of {_windows(len(ends))} are awaited until {until} at the latest."


def _windows(count: int) -> str:
    return several(count, "window")
