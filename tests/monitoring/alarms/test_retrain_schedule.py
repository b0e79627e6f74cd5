"""Schedule decisions: each instant is decided once, in spite of clock changes and crashes."""

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
    progress = decide_at(ScheduleProgress(), START + 5 * HOUR + 7)
    (decision,) = progress.decisions
    assert (decision.due, decision.state) == (START + 5 * HOUR, "requested")
    assert decision.request == scheduled_id("flights", decision.due)
    assert decide_at(progress, START + 5 * HOUR + 8) is progress


def test_overdue_instant_is_missed_if_catch_up_is_none() -> None:
    late = START + HOUR + TOLERANCE
    assert decide_at(ScheduleProgress(), late, catch_up="none").decisions[0].state == "requested"
    (missed,) = decide_at(ScheduleProgress(), late + 1, catch_up="none").decisions
    assert (missed.state, missed.request) == ("missed", "")


def test_instant_is_skipped_for_good_while_a_request_is_open() -> None:
    progress = decide_at(ScheduleProgress(), START + HOUR, awaiting="rr_1")
    assert progress.decisions[0].reason == "request rr_1 awaits its candidate"
    assert decide_at(progress, START + HOUR + 1) is progress
    assert decide_at(progress, START + 2 * HOUR).decisions[-1].state == "requested"


def test_changed_schedule_requests_no_past_instants() -> None:
    before = decide_at(ScheduleProgress(), START + HOUR)
    again = partial(decide_at, since=START + 9 * HOUR + 5, revision=7)
    assert again(before, START + 9 * HOUR + 6) is before
    assert [decision.due for decision in again(before, START + 10 * HOUR).decisions] == [
        START + HOUR,
        START + 10 * HOUR,
    ]


def test_schedule_resumes_once_a_clock_that_was_years_ahead_is_corrected() -> None:
    wrong = decide_at(ScheduleProgress(), START + 10_000 * HOUR)
    progress = decide_at(wrong, START + HOUR + 1)
    assert progress.decisions == wrong.decisions
    progress = decide_at(progress, START + 2 * HOUR)
    assert [decision.due for decision in progress.decisions] == [
        START + 10_000 * HOUR,
        START + 2 * HOUR,
    ]


@given(
    st.lists(
        st.tuples(st.integers(-2 * HOUR, 30 * HOUR), st.booleans(), st.booleans()), max_size=40
    ),
    st.sampled_from(["latest", "none"]),
)
def test_every_latest_instant_is_decided_exactly_once(
    steps: list[tuple[int, bool, bool]], catch_up: CatchUp
) -> None:
    """`steps`: clock change, whether a request is open, and whether the step is lost."""
    now, stored = START, ScheduleProgress()
    decided: list[int] = []
    for move, is_open, lost in steps:
        now = max(START, now + move)
        after = decide_at(stored, now, catch_up=catch_up, awaiting="rr_1" if is_open else "")
        if after is stored or lost:  # a crash before the commit stores nothing
            continue
        decided += [
            decision.due for decision in after.decisions if decision not in stored.decisions
        ]
        stored = after
        assert (hourly(START, now) or START) <= stored.until
    assert len(decided) == len(set(decided))
