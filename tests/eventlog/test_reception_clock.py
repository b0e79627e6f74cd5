"""A source's wrong clock is ignored for less than a minute."""

import random
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.reception_clock import PATIENCE, TOLERANCE, ReceptionClock

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 1_372_636_800_000_000


def _after(*receptions: int) -> ReceptionClock:
    return reduce(ReceptionClock.after, receptions, ReceptionClock())


def _seconds(begin: int, end: int) -> list[int]:
    return [START + n * SECOND for n in range(begin, end)]


@given(st.lists(st.integers(0, TOLERANCE), max_size=30), st.randoms(use_true_random=False))
def test_a_clock_without_departures_is_at_its_newest_reception(
    steps: list[int], chance: random.Random
) -> None:
    receptions = [START + step for step in steps]
    chance.shuffle(receptions)
    assert _after(*receptions).time == max(receptions, default=0)


@given(
    by=st.one_of(
        st.integers(TOLERANCE + MINUTE, 40 * DAY), st.integers(-40 * DAY, -TOLERANCE - MINUTE)
    ),
    begin=st.integers(1, 60),
    lasts=st.integers(1, PATIENCE // SECOND),
)
def test_a_clock_that_is_wrong_for_less_than_a_minute_is_never_believed(
    by: int, begin: int, lasts: int
) -> None:
    clock = _after(*_seconds(0, begin))
    for second in range(begin, begin + lasts):
        clock = clock.after(START + second * SECOND + by)
        assert clock.time == START + (begin - 1) * SECOND
    right = START + (begin + lasts) * SECOND
    assert clock.after(right) == ReceptionClock(right)


@given(
    by=st.one_of(
        st.integers(TOLERANCE + MINUTE, 40 * DAY), st.integers(-40 * DAY, -TOLERANCE - MINUTE)
    ),
    pauses=st.lists(st.integers(0, 20 * SECOND), min_size=8, max_size=20),
)
def test_a_departed_clock_is_believed_after_a_minute_of_receptions(
    by: int, pauses: list[int]
) -> None:
    now = departed = START + MINUTE + by
    clock = _after(START).after(departed)
    for pause in pauses:
        now += pause
        clock = clock.after(now)
        assert clock.time == (now if now >= departed + PATIENCE else START)


@given(st.lists(st.integers(TOLERANCE + 1, 2 * DAY), min_size=2, max_size=20))
def test_with_rare_receptions_a_clock_is_believed_one_reception_later(pauses: list[int]) -> None:
    receptions = [START]
    for pause in pauses:
        receptions.append(receptions[-1] + pause)
    for count in range(2, len(receptions) + 1):
        assert _after(*receptions[:count]).time == receptions[count - 2]


@given(st.lists(st.integers(0, 60 * DAY), max_size=30), st.data())
def test_a_repeated_reception_changes_nothing(receptions: list[int], data: st.DataObject) -> None:
    twice = [one for one in receptions for _ in range(data.draw(st.integers(1, 3)))]
    assert _after(*twice) == _after(*receptions)


@pytest.mark.parametrize("by", [3 * HOUR, 30 * DAY])
def test_a_wrong_clock_mixed_with_correct_records_is_not_believed(by: int) -> None:
    """Partitions of a topic hold the records of one source; their order is roughly kept."""
    mixed = [START]
    for second in range(1, 12):
        mixed += [START + second * SECOND + by, START + second * SECOND]
    assert _after(*mixed) == ReceptionClock(START + 11 * SECOND)
