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


def decide_at(
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


def test_only_the_latest_missed_instant_is_requested() -> None:
    found = decide_at(ScheduleProgress(), START + 5 * HOUR + 7)
    (made,) = found.decisions
    assert (made.due, made.state) == (START + 5 * HOUR, "requested")
    assert made.request == scheduled_id("flights", made.due)
    assert decide_at(found, START + 5 * HOUR + 8) is found


def test_overdue_instant_is_missed_if_catch_up_is_none() -> None:
    late = START + HOUR + TOLERANCE
    assert decide_at(ScheduleProgress(), late, catch_up="none").decisions[0].state == "requested"
    (missed,) = decide_at(ScheduleProgress(), late + 1, catch_up="none").decisions
    assert (missed.state, missed.request) == ("missed", "")


def test_instant_is_skipped_for_good_while_a_request_is_open() -> None:
    found = decide_at(ScheduleProgress(), START + HOUR, awaiting="rr_1")
    assert found.decisions[0].reason == "request rr_1 awaits its candidate"
    assert decide_at(found, START + HOUR + 1) is found
    assert decide_at(found, START + 2 * HOUR).decisions[-1].state == "requested"


def test_changed_schedule_requests_no_past_instants() -> None:
    before = decide_at(ScheduleProgress(), START + HOUR)
    again = partial(decide_at, since=START + 9 * HOUR + 5, revision=7)
    assert again(before, START + 9 * HOUR + 6) is before
    assert [one.due for one in again(before, START + 10 * HOUR).decisions] == [
        START + HOUR,
        START + 10 * HOUR,
    ]


def test_schedule_resumes_once_a_clock_that_was_years_ahead_is_corrected() -> None:
    wrong = decide_at(ScheduleProgress(), START + 10_000 * HOUR)
    found = decide_at(wrong, START + HOUR + 1)
    assert found.decisions == wrong.decisions
    found = decide_at(found, START + 2 * HOUR)
    assert [one.due for one in found.decisions] == [START + 10_000 * HOUR, START + 2 * HOUR]


@given(
    st.lists(
        st.tuples(st.integers(-2 * HOUR, 30 * HOUR), st.booleans(), st.booleans()), max_size=40
    ),
    st.sampled_from(["latest", "none"]),
)
def test_every_latest_instant_is_decided_exactly_once(
    looks: list[tuple[int, bool, bool]], catch_up: CatchUp
) -> None:
    """`looks`: how the clock moves, whether a request is open, whether the step is lost."""
    now, stored = START, ScheduleProgress()
    decided: list[int] = []
    for move, is_open, lost in looks:
        now = max(START, now + move)
        after = decide_at(stored, now, catch_up=catch_up, awaiting="rr_1" if is_open else "")
        if after is stored or lost:  # a crash before the commit: nothing of it is stored
            continue
        decided += [one.due for one in after.decisions if one not in stored.decisions]
        stored = after
        assert (hourly(START, now) or START) <= stored.until
    assert len(decided) == len(set(decided))
