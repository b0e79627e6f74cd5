"""The life of a rule's alarm, window by window. Pure.

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

Enough is `consecutive` windows in a row; one is enough at once, so that inactive becomes firing.
While a rule cools down after an alarm, no number of broken windows is enough. A window that is not
enough data changes nothing.

Windows count in the order of event time. A revision replaces the judgement of its window: it may
fire an alarm, or resolve one. An alarm's id derives from its cause, so the same cause never raises
two, and a cause that returns by a revision opens the same alarm.
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
MOST_JUDGED = 64  # windows whose judgement a revision may replace
_MOST_REVISED = 8  # windows that an alarm names as revised
_SECOND = 1_000_000  # microseconds


class JudgedWindow(msgspec.Struct, frozen=True):
    """The latest judgement of one window."""

    window: Window
    broken: bool


class RuleState(msgspec.Struct, frozen=True):
    """One rule of one model version: its state, and the judgements behind it.

    `broken`, `kept` and `first` are the run of windows before the oldest of `judged`.
    """

    broken: int = 0  # windows in a row
    kept: int = 0
    first: Window | None = None  # first broken window
    open_alarm: str = ""  # id of the alarm that is not resolved
    evidence: dict[str, list[float]] = {}  # concept drift, in files of earlier releases
    quiet_until: int = 0  # event time at which the cool-down ends
    state: State | Literal[""] = ""  # empty: stored by an earlier release
    judged: list[JudgedWindow] = []  # judged windows in order of event time
    settled_until: int = 0  # windows that begin before this event time are not judged again
    gaps: Evidence = Evidence()  # evidence of concept drift

    @property
    def current(self) -> State:
        """The state of the table."""
        if self.state:
            return self.state
        if self.open_alarm:
            return "recovering" if self.kept else "firing"
        return "pending" if self.broken else "inactive"

    @property
    def run(self) -> tuple[int, int]:
        """The newest judged windows in a row: how many were broken, how many kept; one is 0."""
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
        """The first of the newest broken windows in a row."""
        broken, _ = self.run
        if not broken:
            return None
        windows = [judged.window for judged in self.judged[-broken:]]
        if broken > len(self.judged) and self.first is not None:
            windows.append(self.first)
        return min(windows, default=None)

    @property
    def concept_evidence(self) -> Evidence:
        """The evidence of concept drift, also as earlier releases stored it."""
        return replace(self.gaps, base=self.evidence) if self.evidence else self.gaps

    def with_evidence(self, gaps: Evidence) -> "RuleState":
        """Return the state with this evidence of concept drift."""
        return replace(self, gaps=gaps, evidence={})


def judge(
    before: RuleState, alarm: Alarm | None, rule: Rule, result: Result, policy: AlarmPolicy
) -> tuple[RuleState, Alarm | None]:
    """Return the state with this window, and the alarm that fires, stays open or resolves.

    `alarm` is the current open alarm of the state; it may be acknowledged.
    """
    shown = judgement(rule, result, policy)
    if shown == "not enough data" or result.window.start < _settled(before):
        return before, None
    # Evidence has accumulated windows already: its newest judgement counts, whatever its window.
    cumulates = rule == "concept"
    window = JudgedWindow(result.window, shown == "broken")
    is_revision = any(other.window == window.window for other in before.judged)
    after = _with(before, window, in_order=not cumulates)
    run = _run(after, 1 if cumulates else policy.consecutive)
    was_open = alarm is not None
    if run == "broken enough" and not window.broken and not was_open:
        run = "broken"  # the window that fires an alarm is one that broke the rule
    current = before.current if was_open or not before.open_alarm else "inactive"
    after = replace(after, state=TRANSITIONS[current][run])
    if alarm is None:
        if after.state != "firing":
            return after, None
        fired = _fired(after, None, rule, result, policy)
        return replace(after, open_alarm=fired.alarm_id), fired
    if is_revision:
        alarm = _noted(alarm, RevisedWindow(window.window, window.broken))
    if after.state == "inactive":
        return _resolved(after, alarm, result, policy)
    if window.broken:
        return after, _fired(after, alarm, rule, result, policy)
    return after, alarm if is_revision else None


def reset(until: int) -> RuleState:
    """Return the state after an alarm was resolved by other means than its version's windows.

    Windows that begin before the event time `until`, and their revisions, raise no other alarm.
    """
    return RuleState(state="inactive", settled_until=until, gaps=Evidence(start=until))


def _settled(state: RuleState) -> int:
    """Return the event time before which no window is judged any more."""
    known_first = state.first.start + 1 if state.first and not state.judged else 0
    return max(state.settled_until, known_first)


def _with(state: RuleState, window: JudgedWindow, *, in_order: bool) -> RuleState:
    """Return the state with a judgement in place of an earlier one of its window.

    `in_order` of event time; else the newest judgement stands last.
    """
    others = [other for other in state.judged if other.window.start != window.window.start]
    judged = [*others, window]
    if in_order:
        judged.sort(key=lambda other: other.window)
    while len(judged) > MOST_JUDGED:
        state, judged = _folded(state, judged[0]), judged[1:]
    return replace(state, judged=judged)


def _folded(state: RuleState, oldest: JudgedWindow) -> RuleState:
    """Return the state with its oldest judgement as part of the run before the others."""
    start = oldest.window.start + 1
    if oldest.broken:
        first = state.first or oldest.window
        return replace(state, broken=state.broken + 1, kept=0, first=first, settled_until=start)
    return replace(state, broken=0, kept=state.kept + 1, first=None, settled_until=start)


def _run(state: RuleState, enough: int) -> Run:
    broken, kept_run = state.run
    if kept_run:
        return "kept enough" if kept_run >= enough else "kept"
    cools = state.judged[-1].window.start < state.quiet_until
    return "broken enough" if broken >= enough and not cools else "broken"


def _fired(
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


def _resolved(
    after: RuleState, alarm: Alarm, result: Result, policy: AlarmPolicy
) -> tuple[RuleState, Alarm]:
    end = max(judged.window.end for judged in after.judged)
    quiet_until = end + policy.cool_down * _SECOND if policy.cool_down else 0
    after = replace(after, open_alarm="", quiet_until=quiet_until, gaps=Evidence(start=end))
    return after, replace(alarm, state="resolved", policy=result.policy)


def _noted(alarm: Alarm, revised: RevisedWindow) -> Alarm:
    """Return the alarm with the newest revision of a window."""
    others = [window for window in alarm.revised if window.window != revised.window]
    return replace(alarm, revised=sorted([*others, revised])[-_MOST_REVISED:])


def _alarm_id(result: Result, rule: Rule, first: Window) -> str:
    cause = f"{result.model}/{result.version}/{rule}/{first.start}"
    return "al_" + sha256(cause.encode()).hexdigest()[:20]
