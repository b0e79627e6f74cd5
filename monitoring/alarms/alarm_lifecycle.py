"""State machine of a rule's alarm, advanced by each judged window. Pure.

    state        the newest judged window         becomes      the alarm
    inactive     kept                             inactive
    inactive     broken                           pending
    pending      kept                             inactive
    pending      broken, in too few windows       pending
    pending      broken, in enough windows        firing       fires
    firing       broken                           firing       names its newest window
    firing       kept, in too few windows         recovering
    firing       kept, in enough windows          inactive     resolves
    recovering   broken                           firing       names its newest window
    recovering   kept, in too few windows         recovering
    recovering   kept, in enough windows          inactive     resolves

A window breaks the rule if its score is beyond the limit; otherwise the rule is kept.

"Enough windows" are `consecutive` windows in a row. If `consecutive` is 1, the first broken window
changes the state from inactive to firing. During the cool-down after an alarm, no number of broken
windows is enough. A window with the judgement "not enough data" changes nothing.

Windows are ordered by event time. A revision replaces its window's judgement, so a revision can
fire or resolve an alarm. An alarm's id is derived from its cause. The same cause therefore never
raises two alarms, and a revision that restores an earlier cause reopens the earlier alarm.
"""

from hashlib import sha256
from typing import Literal

import msgspec
from msgspec.structs import replace

from monitoring.alarms.decision import judgement
from monitoring.alarms.evidence import Evidence
from monitoring.alarms.severity import largest_drift
from monitoring.results import Alarm, Result, RevisedWindow, Rule, Window
from registry.manifest import AlarmPolicy

State = Literal["inactive", "pending", "firing", "recovering"]
Run = Literal["kept", "kept enough", "broken", "broken enough"]

TRANSITIONS: dict[State, dict[Run, State]] = {
    "inactive": {
        "kept": "inactive",
        "kept enough": "inactive",
        "broken": "pending",
        "broken enough": "firing",
    },
    "pending": {
        "kept": "inactive",
        "kept enough": "inactive",
        "broken": "pending",
        "broken enough": "firing",
    },
    "firing": {
        "kept": "recovering",
        "kept enough": "inactive",
        "broken": "firing",
        "broken enough": "firing",
    },
    "recovering": {
        "kept": "recovering",
        "kept enough": "inactive",
        "broken": "firing",
        "broken enough": "firing",
    },
}
MOST_JUDGED = 64  # maximum number of windows whose judgement a revision can replace
_MOST_REVISED = 8  # maximum number of revised windows that an alarm names
_SECOND = 1_000_000  # microseconds


class JudgedWindow(msgspec.Struct, frozen=True):
    """The latest judgement of one window."""

    window: Window
    broken: bool


class RuleState(msgspec.Struct, frozen=True):
    """One rule's state for one model version, with the judgements that led to it.

    `broken`, `kept` and `first` summarise the windows older than the list `judged`.
    """

    broken: int = 0  # number of broken windows in a row before `judged`
    kept: int = 0  # number of kept windows in a row before `judged`
    first: Window | None = None  # first of the `broken` windows
    open_alarm: str = ""  # id of the open alarm; empty if no alarm is open
    evidence: dict[str, list[float]] = {}  # concept-drift evidence as earlier releases stored it
    quiet_until: int = 0  # event time at which the cool-down ends
    state: State | Literal[""] = ""  # empty if an earlier release stored the rule state
    judged: list[JudgedWindow] = []  # newest judged windows in order of event time
    settled_until: int = 0  # windows that start before this event time are not judged again
    gaps: Evidence = Evidence()  # evidence of concept drift

    @property
    def current(self) -> State:
        """The alarm state, derived from the other fields if an earlier release stored none."""
        if self.state:
            return self.state
        if self.open_alarm:
            return "recovering" if self.kept else "firing"
        return "pending" if self.broken else "inactive"

    @property
    def run(self) -> tuple[int, int]:
        """The lengths of the newest runs of broken and of kept windows; one of the two is 0."""
        if not self.judged:
            return self.broken, self.kept
        newest = self.judged[-1].broken
        length = 0
        for window in reversed(self.judged):
            if window.broken != newest:
                break
            length += 1
        if length == len(self.judged):
            length += self.broken if newest else self.kept
        return (length, 0) if newest else (0, length)

    @property
    def first_broken(self) -> Window | None:
        """The first window of the newest run of broken windows; None if there is no such run."""
        broken, _ = self.run
        if not broken:
            return None
        windows = [judged.window for judged in self.judged[-broken:]]
        if broken > len(self.judged) and self.first is not None:
            windows.append(self.first)
        return min(windows, default=None)

    @property
    def concept_evidence(self) -> Evidence:
        """The evidence of concept drift, read from `evidence` if an earlier release stored it."""
        return replace(self.gaps, base=self.evidence) if self.evidence else self.gaps

    def with_evidence(self, gaps: Evidence) -> "RuleState":
        """Return a copy of the state with new evidence of concept drift."""
        return replace(self, gaps=gaps, evidence={})


def judge(
    before: RuleState, alarm: Alarm | None, rule: Rule, result: Result, policy: AlarmPolicy
) -> tuple[RuleState, Alarm | None]:
    """Return the rule's state after this result, and the alarm if it fires, changes or resolves.

    `alarm` is the rule's open alarm, firing or acknowledged; None if no alarm is open.
    """
    outcome = judgement(rule, result, policy)
    if outcome == "not enough data" or result.window.start < _settled(before):
        return before, None
    # Concept evidence already accumulates windows, so one judgement is enough, and the judgement
    # that was computed last counts, even if its window is older.
    cumulates = rule == "concept"
    window = JudgedWindow(result.window, outcome == "broken")
    is_revision = any(other.window == window.window for other in before.judged)
    after = _with_judgement(before, window, in_order=not cumulates)
    run = _newest_run(after, 1 if cumulates else policy.consecutive)
    was_open = alarm is not None
    if run == "broken enough" and not window.broken and not was_open:
        run = "broken"  # only a window that broke the rule can fire an alarm
    current = before.current if was_open or not before.open_alarm else "inactive"
    after = replace(after, state=TRANSITIONS[current][run])
    if alarm is None:
        if after.state != "firing":
            return after, None
        fired = _firing_alarm(after, None, rule, result, policy)
        return replace(after, open_alarm=fired.alarm_id), fired
    if is_revision:
        alarm = _with_revised(alarm, RevisedWindow(window.window, window.broken))
    if after.state == "inactive":
        return _resolved_alarm(after, alarm, result, policy)
    if window.broken:
        return after, _firing_alarm(after, alarm, rule, result, policy)
    return after, alarm if is_revision else None


def reset(until: int) -> RuleState:
    """Return the state of a rule whose alarm was resolved by something other than a window.

    Windows that start before the event time `until`, and their revisions, raise no new alarm.
    """
    return RuleState(state="inactive", settled_until=until, gaps=Evidence(start=until))


def _settled(state: RuleState) -> int:
    """Return the event time before which windows are no longer judged."""
    known_first = state.first.start + 1 if state.first and not state.judged else 0
    return max(state.settled_until, known_first)


def _with_judgement(state: RuleState, window: JudgedWindow, *, in_order: bool) -> RuleState:
    """Return the state with a window's judgement added, or replaced if the window had one.

    If `in_order`, judgements are sorted by event time. Otherwise the new judgement comes last.
    """
    others = [other for other in state.judged if other.window.start != window.window.start]
    judged = [*others, window]
    if in_order:
        judged.sort(key=lambda other: other.window)
    while len(judged) > MOST_JUDGED:
        state, judged = _with_oldest_summarised(state, judged[0]), judged[1:]
    return replace(state, judged=judged)


def _with_oldest_summarised(state: RuleState, oldest: JudgedWindow) -> RuleState:
    """Return the state with the oldest judgement moved from `judged` into the summary fields."""
    start = oldest.window.start + 1
    if oldest.broken:
        first = state.first or oldest.window
        return replace(state, broken=state.broken + 1, kept=0, first=first, settled_until=start)
    return replace(state, broken=0, kept=state.kept + 1, first=None, settled_until=start)


def _newest_run(state: RuleState, enough: int) -> Run:
    broken, kept_run = state.run
    if kept_run:
        return "kept enough" if kept_run >= enough else "kept"
    cools = state.judged[-1].window.start < state.quiet_until
    return "broken enough" if broken >= enough and not cools else "broken"


def _firing_alarm(
    state: RuleState, alarm: Alarm | None, rule: Rule, result: Result, policy: AlarmPolicy
) -> Alarm:
    first = state.first_broken or result.window
    if alarm is None:
        alarm = Alarm(
            alarm_id=_alarm_id(result, rule, first),
            model=result.model,
            version=result.version,
            rule=rule,
            state="firing",
            since=first,
            latest=max(judged.window for judged in state.judged),
        )
    return replace(
        alarm,
        latest=max(alarm.latest, result.window),
        columns=[score.column for score in largest_drift(result)[:3]],
        severity="critical" if rule in policy.critical else "warning",
        policy=result.policy,
    )


def _resolved_alarm(
    after: RuleState, alarm: Alarm, result: Result, policy: AlarmPolicy
) -> tuple[RuleState, Alarm]:
    end = max(judged.window.end for judged in after.judged)
    quiet_until = end + policy.cool_down * _SECOND if policy.cool_down else 0
    after = replace(after, open_alarm="", quiet_until=quiet_until, gaps=Evidence(start=end))
    return after, replace(alarm, state="resolved", policy=result.policy)


def _with_revised(alarm: Alarm, revised: RevisedWindow) -> Alarm:
    """Return the alarm with `revised` in its list of revised windows."""
    others = [window for window in alarm.revised if window.window != revised.window]
    return replace(alarm, revised=sorted([*others, revised])[-_MOST_REVISED:])


def _alarm_id(result: Result, rule: Rule, first: Window) -> str:
    cause = f"{result.model}/{result.version}/{rule}/{first.start}"
    return "al_" + sha256(cause.encode()).hexdigest()[:20]
