"""Traffic in the local time of its callers: daylight saving and shifts within the day."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.alarms.local_hours import LocalHours
from monitoring.alarms.traffic import (
    DAY,
    WEEK,
    Calibration,
    TrafficHistory,
    calibrate,
    judge_hour,
)
from registry.manifest import AlarmPolicy

pytestmark = pytest.mark.untraced

ZONES = ["America/New_York", "Europe/Berlin", "Australia/Sydney"]
NIGHT = range(6)  # hours with few requests


def _hour(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) // 3_600


def _clock_changes(local: LocalHours) -> list[int]:
    """Return the last hours before the daylight-saving changes in 2025."""
    hours = range(_hour(2025), _hour(2026))
    return [hour for hour in hours if local.local(hour + 1) - local.local(hour) != 1]


def _broken_hours(requests: dict[int, int], hours: range, policy: AlarmPolicy) -> list[int]:
    """Judge the hours in order, as the monitor does, and return the hours that break the rule."""
    broken: list[int] = []
    calibration: Calibration | None = None
    for hour in hours:
        history = TrafficHistory(min(requests), requests, frozenset(broken))
        if hour % DAY == 0 or calibration is None:
            calibration = calibrate(history, hour, policy)
        if judge_hour(history, hour, policy, calibration).broken:
            broken.append(hour)
    return broken


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(ZONES), st.lists(st.integers(0, 400), min_size=WEEK, max_size=WEEK))
def test_daylight_saving_change_raises_no_alarm(timezone: str, week: list[int]) -> None:
    local, policy = LocalHours(timezone), AlarmPolicy(timezone=timezone, consecutive=1)
    changes = _clock_changes(local)
    assert len(changes) == 2
    for change in changes:
        hours = range(change - 5 * WEEK, change + 5 * WEEK)
        requests = {hour: week[local.local(hour) % WEEK] for hour in hours}
        for day in (-1, 0, 1, 7, 21):
            begin = change + day * DAY
            assert _broken_hours(requests, range(begin, begin + DAY), policy) == []


def test_daylight_saving_change_alarms_at_most_three_days_without_a_time_zone() -> None:
    local = LocalHours("America/New_York")
    for change in _clock_changes(local):
        hours = range(change - 5 * WEEK, change + WEEK)
        requests = {hour: 3 if local.local(hour) % DAY in NIGHT else 60 for hour in hours}
        broken = _broken_hours(requests, range(change - DAY, hours[-1]), AlarmPolicy())
        assert broken
        assert max(broken) < change + 3 * DAY


def test_stopped_traffic_is_not_taken_for_a_shift_within_the_day() -> None:
    stopped = 5 * WEEK
    requests = {hour: 0 if hour >= stopped else 60 for hour in range(7 * WEEK)}
    broken = _broken_hours(requests, range(4 * WEEK, 6 * WEEK), AlarmPolicy())
    assert broken == list(range(stopped, 6 * WEEK))


def test_second_shift_of_an_already_shifted_hour_raises_an_alarm() -> None:
    """The new level of a shifted hour is learned, so that a further change breaks the rule."""
    requests = dict.fromkeys(range(4 * WEEK + 7 * DAY), 60)
    nights = [4 * WEEK + day * DAY + 3 for day in range(7)]
    requests |= dict.fromkeys(nights, 10)
    requests[nights[-1]] = 0
    broken = _broken_hours(requests, range(4 * WEEK, max(requests) + 1), AlarmPolicy())
    assert broken == [*nights[:3], nights[-1]]


def test_local_hours_are_utc_beyond_the_calendar_and_in_unknown_zones() -> None:
    last = int(datetime(9999, 12, 31, 23, tzinfo=UTC).timestamp()) // 3_600
    assert LocalHours("Asia/Tokyo").local(last) == last
    assert LocalHours("No/Such").local(last) == last
