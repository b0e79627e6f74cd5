"""Decisions of a schedule: each instant once, whatever the clock, crashes and restarts do."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms.retrain_schedule import (
    TOLERANCE,
    ScheduleProgress,
    decide,
    scheduled_id,
)
from registry.history.rows import CatchUp

HOUR = 3_600_000_000
START = 1_000 * HOUR


def hourly(after: int, until: int) -> int | None:
    """Return the latest full hour in ]after, until]."""
    latest = until // HOUR * HOUR
    return latest if latest > after else None


def look(
    before: ScheduleProgress,
    now: int,
    *,
    catch_up: CatchUp = "latest",
    awaiting: str = "",
    since: int = START,
    revision: int = 1,
) -> ScheduleProgress:
    return decide(
        before,
        model="flights",
        revision=revision,
        since=since,
        catch_up=catch_up,
        latest_due=hourly,
        now=now,
        open_request=lambda: awaiting,
    )


def test_only_the_latest_of_missed_instants_is_requested() -> None:
    found = look(ScheduleProgress(), START + 5 * HOUR + 7)
    (made,) = found.decisions
    assert (made.due, made.state) == (START + 5 * HOUR, "requested")
    assert made.request == scheduled_id("flights", made.due)
    assert look(found, START + 5 * HOUR + 8) is found


def test_without_catch_up_an_instant_without_a_monitor_is_missed() -> None:
    late = START + HOUR + TOLERANCE
    assert look(ScheduleProgress(), late, catch_up="none").decisions[0].state == "requested"
    (missed,) = look(ScheduleProgress(), late + 1, catch_up="none").decisions
    assert (missed.state, missed.request) == ("missed", "")


def test_an_open_request_skips_an_instant_for_good() -> None:
    found = look(ScheduleProgress(), START + HOUR, awaiting="rr_1")
    assert found.decisions[0].reason == "request rr_1 awaits its candidate"
    assert look(found, START + HOUR + 1) is found
    assert look(found, START + 2 * HOUR).decisions[-1].state == "requested"


def test_a_schedule_that_is_set_again_requests_nothing_of_the_past() -> None:
    before = look(ScheduleProgress(), START + HOUR)
    again = partial(look, since=START + 9 * HOUR + 5, revision=7)
    assert again(before, START + 9 * HOUR + 6) is before
    assert [one.due for one in again(before, START + 10 * HOUR).decisions] == [
        START + HOUR,
        START + 10 * HOUR,
    ]


def test_a_clock_that_was_years_ahead_stops_a_schedule_for_no_longer_than_it_was_wrong() -> None:
    wrong = look(ScheduleProgress(), START + 10_000 * HOUR)
    found = look(wrong, START + HOUR + 1)
    assert found.decisions == wrong.decisions
    found = look(found, START + 2 * HOUR)
    assert [one.due for one in found.decisions] == [START + 10_000 * HOUR, START + 2 * HOUR]


@given(
    st.lists(
        st.tuples(st.integers(-2 * HOUR, 30 * HOUR), st.booleans(), st.booleans()), max_size=40
    ),
    st.sampled_from(["latest", "none"]),
)
def test_no_instant_is_decided_twice_and_the_latest_always_is(
    looks: list[tuple[int, bool, bool]], catch_up: CatchUp
) -> None:
    """`looks`: how the clock moves, whether a request is open, whether the step is lost."""
    now, stored = START, ScheduleProgress()
    decided: list[int] = []
    for move, is_open, lost in looks:
        now = max(START, now + move)
        after = look(stored, now, catch_up=catch_up, awaiting="rr_1" if is_open else "")
        if after is stored or lost:  # a crash before the commit: nothing of it is stored
            continue
        decided += [one.due for one in after.decisions if one not in stored.decisions]
        stored = after
        assert (hourly(START, now) or START) <= stored.until
    assert len(decided) == len(set(decided))
