"""The traffic rule on simulated streams with known changes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.accuracy.traffic import TRAFFIC, alarms, counts
from monitoring.alarms.traffic import (
    DAY,
    WEEK,
    JudgedHour,
    TrafficHistory,
    calibrate,
    judge_hour,
)
from monitoring.windows.traffic import RETAINED, JudgedHours, OpenHours, alarm_version
from registry.manifest import AlarmPolicy

pytestmark = pytest.mark.untraced

OVERDISPERSED = TRAFFIC[5]  # hours and days vary more than Poisson counts
POLICY = AlarmPolicy()


def test_false_traffic_alarms_stay_within_the_budget() -> None:
    """`python -m benchmarks.accuracy.traffic` measures more streams."""
    rng = np.random.default_rng(7)
    found = [
        onset
        for traffic in (TRAFFIC[1], OVERDISPERSED)
        for onset in alarms(counts(traffic, 12 * WEEK, rng), POLICY)
    ]
    assert len(found) <= 4  # the budget allows one in 30 days; the two streams have 70 days each


@pytest.mark.parametrize(
    ("change", "state", "within"), [(0.0, "none", 3), (0.4, "low", DAY), (4.0, "high", DAY)]
)
def test_traffic_change_fires_an_alarm_within_a_day(change: float, state: str, within: int) -> None:
    rng, at = np.random.default_rng(3), 5 * WEEK + 9
    stream = counts(TRAFFIC[2], at + 2 * DAY, rng, change=change, at=at)
    onset = next(alarm for alarm in alarms(stream, POLICY) if alarm.hour >= at)
    assert onset.state == state
    assert onset.hour - at < within


def _judged(requests: dict[int, int], hour: int, policy: AlarmPolicy = POLICY) -> JudgedHour:
    history = TrafficHistory(0, requests)
    return judge_hour(history, hour, policy, calibrate(history, hour - hour % DAY, policy))


def test_stopped_model_with_few_requests_is_detected_after_a_day() -> None:
    requests = dict.fromkeys(range(0, 4 * WEEK, 2), 1)
    states = [_judged(requests, hour) for hour in range(4 * WEEK, 4 * WEEK + 2 * DAY)]
    first = next(at for at, judged in enumerate(states) if judged.broken)
    assert DAY // 2 < first < DAY + 4
    assert (states[first].day, states[first].state) in {(True, "low"), (True, "none")}


def test_new_traffic_volume_becomes_normal_after_two_weeks() -> None:
    requests = {hour: 100 if hour < 4 * WEEK else 20 for hour in range(7 * WEEK)}
    broken: set[int] = set()
    for hour in range(4 * WEEK, 6 * WEEK + DAY):
        history = TrafficHistory(0, requests, frozenset(broken))
        if hour % DAY == 0:
            known = calibrate(history, hour, POLICY)
        if judge_hour(history, hour, POLICY, known).broken:
            broken.add(hour)
    assert max(broken) == 6 * WEEK - 1


def test_minimum_traffic_applies_from_the_first_hour() -> None:
    policy = AlarmPolicy(min_traffic=10)
    assert _judged({0: 9}, 0, policy).state == "low"
    assert _judged({}, 0, policy).state == "none"
    assert _judged({0: 10}, 0, policy).state == "learning"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(0, 10**9))
def test_limits_enclose_the_expected_traffic(values: list[int], newest: int) -> None:
    requests = {hour: values[hour % len(values)] for hour in range(4 * WEEK)}
    judged = _judged(requests | {4 * WEEK: newest}, 4 * WEEK)
    assert judged.expected is not None
    assert judged.high is not None
    assert (judged.low or 0) <= judged.expected <= judged.high
    assert judged.broken or judged.day or newest < judged.high


def test_stored_hours_are_bounded_for_any_event_times() -> None:
    opened = OpenHours()
    for hour in range(1, 3 * RETAINED):
        opened.count(hour * 3_600_000_000, "1")
    assert len(opened.requests) <= RETAINED + 2 * DAY
    assert not opened.count(3_600_000_000, "1")
    judged = JudgedHours()
    for hour in range(100, 100 + 2 * RETAINED):
        judged.add(hour, 0, JudgedHour(0, "none"))
    assert (len(judged.requests), judged.ended) == (RETAINED, True)
    assert all(hour + 1 == following for hour, following in pairwise(judged.broken))
    judged.add(10**6, 5, JudgedHour(5, "normal"))
    assert (judged.requests, judged.broken) == ([5], [])


def test_alarm_stays_with_its_version_while_the_version_serves_traffic() -> None:
    assert alarm_version({}, "1") == "1"
    assert alarm_version({"1": 1, "2": 50}, "1") == "1"
    assert alarm_version({"2": 50, "3": 50}, "1") == "2"
