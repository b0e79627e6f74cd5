"""Due times of schedules: daylight saving, invalid expressions, both directions of search."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidSchedule, UnknownModel
from registry.history.rows import ScheduleChange
from registry.history.store import History
from registry.schedules import Schedules, latest_due, next_due, require_schedule

SECOND = 1_000_000
DAY = 86_400 * SECOND
CRONS = ["0 3 * * MON", "30 2 * * *", "*/20 * * * *", "15 * * * *", "0,30 2,3 * * *", "0 0 L * *"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def due_from(cron: str, zone: str, begin: str, count: int) -> list[str]:
    found, now = [], at(begin)
    for _ in range(count):
        now = next_due(cron, zone, now)
        found.append(f"{datetime.fromtimestamp(now / SECOND, UTC):%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("cron", "begin", "expected"),
    [
        ("30 2 * * *", "2026-10-24T12:00", ["25 00:30", "26 01:30"]),  # the hour comes twice
        ("30 2 * * *", "2026-03-28T12:00", ["29 01:00", "30 00:30"]),  # it does not come
        ("30 2,3 * * *", "2026-03-28T12:00", ["29 01:00", "29 01:30", "30 00:30"]),
        ("30 * * * *", "2026-10-24T23:00", ["24 23:30", "25 00:30", "25 01:30", "25 02:30"]),
        ("0 3 * * MON", "2026-11-29T00:00", ["30 02:00", "07 02:00"]),
    ],
)
def test_daylight_saving_neither_doubles_nor_loses_a_day(
    cron: str, begin: str, expected: list[str]
) -> None:
    assert due_from(cron, "Europe/Berlin", begin, len(expected)) == expected


@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    st.integers(at("2024-01-01"), at("2028-01-01")),
    st.integers(1, 40 * DAY),
)
def test_the_latest_due_time_is_the_last_of_the_sequence(
    cron: str, zone: str, after: int, span: int
) -> None:
    until, last, now = after + span, None, after
    while (now := next_due(cron, zone, now)) <= until:
        last = now
    assert latest_due(cron, zone, after, until) == last
    if last is not None:
        assert latest_due(cron, zone, last, until) is None
        assert next_due(cron, zone, last - 1) == last


@given(
    st.sampled_from(CRONS), st.sampled_from(ZONES), st.integers(at("2025-01-01"), at("2027-01-01"))
)
def test_due_times_increase(cron: str, zone: str, begin: int) -> None:
    found = [begin]
    for _ in range(5):
        found.append(next_due(cron, zone, found[-1]))
    assert all(before < after for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("cron", "zone", "wrong"),
    [
        ("", "UTC", "expected five fields"),
        ("0 3 * *", "UTC", "expected five fields"),
        ("0 0 3 * * MON", "UTC", "expected five fields"),
        ("61 3 * * *", "UTC", "Bad minute"),
        ("@weekly", "UTC", "expected five fields"),
        ("0 3 31 2 *", "UTC", "Bad day-of-month"),
        ("0 3 * * MON" + " " * 300, "UTC", "expected five fields"),
        ("0 3 * * MON", "Mars/Olympus", "expected a name of the IANA database"),
        ("0 3 * * MON", "../etc/passwd", "expected a name of the IANA database"),
        ("0 3 * * MON", "berlin", "did you mean Europe/Berlin"),
        ("0 3 * * MON", "", "expected a name of the IANA database"),
    ],
)
def test_an_invalid_schedule_is_refused_with_the_expected_form(
    cron: str, zone: str, wrong: str
) -> None:
    with pytest.raises(InvalidSchedule, match=wrong):
        require_schedule(cron, zone)


def test_the_history_contains_one_schedule_per_model(tmp_path: Path) -> None:
    history = History(tmp_path / "registry.db")
    schedules = Schedules(history)
    with pytest.raises(UnknownModel):
        schedules.set("flights", "0 3 * * MON", "UTC", "latest", actor="ann")
    history.register("flights", "1", time=1, actor="ann", digest="d1")
    schedules.set("flights", "0 3 * * MON", "UTC", "latest", actor="ann")
    schedules.set("flights", "0  4 * * *", "Europe/Berlin", "none", actor="bob", why="quieter")
    row = history.state("flights").schedule
    assert row is not None
    assert row.decode(ScheduleChange) == ScheduleChange("set", "0 4 * * *", "Europe/Berlin", "none")
    schedules.remove("flights", actor="ann")
    assert history.state("flights").schedule is None
    with pytest.raises(InvalidSchedule, match="no schedule"):
        schedules.remove("flights", actor="ann")
