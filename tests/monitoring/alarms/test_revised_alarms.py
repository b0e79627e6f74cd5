"""A revision replaces the judgement of its window, and alarms follow the newest judgements."""

import random
from statistics import NormalDist

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.alarms.alarm_lifecycle import (
    MOST_JUDGED,
    TRANSITIONS,
    RuleState,
    judge,
    reset,
)
from monitoring.alarms.budget import label_level, rule_budget
from monitoring.results import Alarm, Result, RevisedWindow, Score, Window
from registry.manifest import AlarmPolicy, FalseAlarms
from tests.monitoring.log_in_memory import MANIFEST

HOUR = 3_600_000_000
POLICY = AlarmPolicy(min_rows=100, consecutive=2)
VERY_NOISY = replace(POLICY, false_alarms=FalseAlarms(days=0.1, windows=10))


def _result(hour: int, *, bad: bool, revision: int = 0) -> Result:
    value = 0.5 if bad else 0.8
    return Result(
        model="tiny",
        version="1",
        window=Window(hour * HOUR, (hour + 1) * HOUR),
        revision=revision,
        rows=100,
        labelled=100,
        scores=[Score(name="roc_auc", value=value, threshold=0.7, breached=bad)],
    )


class _Rule:
    """The performance rule of one version."""

    def __init__(self, policy: AlarmPolicy = POLICY) -> None:
        self.state, self.policy = RuleState(), policy
        self.alarms: dict[str, Alarm] = {}

    def judge(self, hour: int, *, bad: bool) -> Alarm | None:
        alarm = self.alarms.get(self.state.open_alarm)
        result = _result(hour, bad=bad)
        self.state, alarm = judge(self.state, alarm, "performance", result, self.policy)
        if alarm is not None:
            self.alarms[alarm.alarm_id] = alarm
        return alarm


def test_an_alarm_fires_when_a_revision_breaks_the_rule() -> None:
    rule = _Rule()
    assert rule.judge(0, bad=True) is None
    assert rule.judge(1, bad=False) is None
    alarm = rule.judge(1, bad=True)
    assert alarm is not None
    assert (alarm.state, alarm.since.start, alarm.latest.start) == ("firing", 0, HOUR)


def test_alarm_resolves_if_its_windows_are_revised_and_records_the_revisions() -> None:
    rule = _Rule()
    rule.judge(0, bad=True)
    rule.judge(1, bad=True)
    still = rule.judge(1, bad=False)
    assert still is not None
    assert (still.state, rule.state.current) == ("firing", "recovering")
    assert still.revised == [RevisedWindow(Window(HOUR, 2 * HOUR), broken=False)]
    resolved = rule.judge(0, bad=False)
    assert resolved is not None
    assert (resolved.state, rule.state.current) == ("resolved", "inactive")
    assert [revised.window.start for revised in resolved.revised] == [0, HOUR]


def test_revision_that_confirms_the_alarm_is_recorded() -> None:
    rule = _Rule()
    for hour in (0, 1):
        rule.judge(hour, bad=True)
    alarm = rule.judge(0, bad=True)
    assert alarm is not None
    assert (alarm.state, alarm.latest.start) == ("firing", HOUR)
    assert alarm.revised == [RevisedWindow(Window(0, HOUR), broken=True)]


def test_cause_restored_by_a_revision_reopens_the_same_alarm() -> None:
    rule = _Rule()
    for hour, bad in [(0, True), (1, True), (0, False), (1, False), (0, True)]:
        rule.judge(hour, bad=bad)
    assert rule.state.open_alarm == ""
    rule.judge(1, bad=True)
    assert len(rule.alarms) == 1
    assert rule.state.open_alarm in rule.alarms


def test_windows_are_judged_in_order_of_event_time() -> None:
    rule = _Rule()
    assert [rule.judge(hour, bad=True) for hour in (2,)] == [None]
    assert rule.judge(1, bad=False) is None
    assert rule.state.run == (1, 0)
    alarm = rule.judge(1, bad=True)
    assert alarm is not None
    assert (alarm.since.start, alarm.latest.start) == (HOUR, 2 * HOUR)


def test_revision_does_not_reopen_a_manually_resolved_alarm() -> None:
    rule = _Rule()
    for hour in (0, 1):
        rule.judge(hour, bad=True)
    rule.state = reset(2 * HOUR)
    assert [rule.judge(hour, bad=True) for hour in (0, 1, 0, 1, 2)] == [None] * 5
    assert rule.judge(3, bad=True) is not None


def _final_state(judged: list[bool]) -> RuleState:
    rule = _Rule()
    for hour, bad in enumerate(judged):
        rule.judge(hour, bad=bad)
    return rule.state


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.data())
def test_only_the_newest_judgement_of_each_window_counts(
    judged: list[bool], data: st.DataObject
) -> None:
    first = data.draw(st.lists(st.booleans(), min_size=len(judged), max_size=len(judged)))
    rule = _Rule(replace(POLICY, consecutive=100))
    for hour, bad in enumerate(first):
        rule.judge(hour, bad=bad)
    for hour in data.draw(st.permutations(range(len(judged)))):
        rule.judge(hour, bad=judged[hour])
    assert rule.state.run == _final_state(judged).run
    assert rule.state.first_broken == _final_state(judged).first_broken


@given(st.lists(st.booleans(), min_size=1, max_size=3 * MOST_JUDGED))
def test_stored_judgements_are_bounded_without_changing_the_run(judged: list[bool]) -> None:
    rule = _Rule(replace(POLICY, consecutive=10_000))
    for hour, bad in enumerate(judged):
        rule.judge(hour, bad=bad)
    length = next((n for n, bad in enumerate(reversed(judged)) if bad != judged[-1]), len(judged))
    assert rule.state.run == ((length, 0) if judged[-1] else (0, length))
    assert len(rule.state.judged) <= MOST_JUDGED


def test_run_longer_than_the_stored_history_has_its_first_window() -> None:
    rule = _Rule()
    for hour in range(2 * MOST_JUDGED):
        rule.judge(hour, bad=hour > 3)
    assert rule.state.first_broken == Window(4 * HOUR, 5 * HOUR)
    assert rule.judge(0, bad=False) is None
    assert rule.state.run == (2 * MOST_JUDGED - 4, 0)


@pytest.mark.parametrize(
    ("stored", "state"),
    [
        (b"{}", "inactive"),
        (b'{"broken":1,"first":{"start":0,"end":3600000000}}', "pending"),
        (b'{"broken":3,"first":{"start":0,"end":3600000000},"open_alarm":"a"}', "firing"),
        (b'{"kept":1,"open_alarm":"a"}', "recovering"),
        (b'{"kept":7,"quiet_until":9}', "inactive"),
    ],
)
def test_the_state_of_an_earlier_release_is_read(stored: bytes, state: str) -> None:
    assert msgspec.json.decode(stored, type=RuleState).current == state


def test_a_rule_pending_in_an_earlier_release_fires_with_its_next_window() -> None:
    rule = _Rule()
    stored = b'{"broken":1,"first":{"start":0,"end":3600000000}}'
    rule.state = msgspec.json.decode(stored, type=RuleState)
    assert rule.judge(0, bad=True) is None, "the stored run already counts this window"
    alarm = rule.judge(1, bad=True)
    assert alarm is not None
    assert alarm.since.start == 0


def test_transition_table_covers_every_state_and_run() -> None:
    runs = {"kept", "kept enough", "broken", "broken enough"}
    assert all(set(row) == runs for row in TRANSITIONS.values())
    assert all(row["kept enough"] == "inactive" for row in TRANSITIONS.values())
    assert all(row["broken enough"] == "firing" for row in TRANSITIONS.values())


@pytest.mark.untraced
def test_false_alarm_rate_stays_within_the_budget_if_labels_come_in_fifths() -> None:
    """Each window is judged at 60, 80 and 100 % of its labels, without any real change."""
    chance, rule, fired, windows = random.Random(3), _Rule(VERY_NOISY), 0, 6_000
    manifest = replace(MANIFEST, monitoring=replace(MANIFEST.monitoring, alarms=VERY_NOISY))
    limit = NormalDist().inv_cdf(1 - label_level(manifest))  # standard errors
    for hour in range(windows):
        fifths = [chance.gauss(0, 1) for _ in range(5)]
        for known in (3, 4, 5):
            before = rule.state.open_alarm
            rule.judge(hour, bad=sum(fifths[:known]) / known**0.5 > limit)
            fired += bool(rule.state.open_alarm) and not before
    expected = rule_budget(manifest) * windows
    assert 0.5 * expected < fired < expected + 2 * expected**0.5
