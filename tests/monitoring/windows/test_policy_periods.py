"""The policy of a window depends only on event time, not on when a change becomes known."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from monitoring.results import Window
from monitoring.windows.grid import END_OF_TIME, LONGEST_GAP, SECOND
from monitoring.windows.policy_periods import MARGIN, PolicyTimeline, timeline
from registry.manifest import AlarmPolicy, Monitoring, WindowPolicy
from registry.policies import DatedPolicy, digest
from tests.monitoring.windows.closing_windows import watch

LENGTH = 600
SPAN = 20 * LENGTH * SECOND


def policy(min_rows: int, grace: int = 0, **window: int | None) -> Monitoring:
    stated: dict[str, int | None] = {"length": LENGTH, "grace": grace} | window
    return Monitoring(
        window=msgspec.convert(stated, WindowPolicy), alarms=AlarmPolicy(min_rows=min_rows)
    )


def histories(policies: st.SearchStrategy[Monitoring]) -> st.SearchStrategy[list[DatedPolicy]]:
    """Generate the changes after the first policy, in order."""
    changes = st.lists(st.builds(DatedPolicy, policies, st.integers(1, SPAN)), max_size=6)
    return changes.map(lambda policies: sorted(policies, key=lambda dated: dated.at))


FIRST = DatedPolicy(policy(1), 0)
moments = st.integers(MARGIN, SPAN)
rows, graces = st.integers(1, 9), st.integers(0, 3 * LENGTH)
changes = histories(st.builds(policy, rows, graces))  # the window length is unchanged
by_time = st.builds(
    lambda n, grace, length: policy(n, grace, length=length),
    rows,
    graces,
    st.sampled_from([60, 240, 600, 3600]),
)
by_rows = st.builds(
    lambda n, length, step, rows: policy(n, length=length, step=step, rows=rows),
    rows,
    st.sampled_from([None, 600, 3600]),
    st.sampled_from([60, 300]),
    st.integers(1, 20),
)
reshapings = histories(by_time | by_rows)


def expected_policy(history: list[DatedPolicy], start: int) -> Monitoring:
    """Return a window's policy, computed without policy periods."""
    return [dated for dated in history if not dated.at or dated.at + MARGIN <= start][-1].policy


@given(changes, moments)
def test_window_uses_the_last_policy_set_a_minute_before_it(
    later: list[DatedPolicy], time: int
) -> None:
    periods = timeline([FIRST, *later])
    window = periods.grid(time).pane(time)
    expected = expected_policy([FIRST, *later], window.start)
    assert periods.at(window.start).policy == expected
    assert periods.at(time).policy == expected  # so every event of the window has the same policy
    assert periods.at(window.start).digest == digest(expected)


@given(changes, moments)
def test_later_changes_do_not_alter_policies_already_applied(
    later: list[DatedPolicy], now: int
) -> None:
    partial = timeline([FIRST, *(dated for dated in later if dated.at <= now)])
    complete = timeline([FIRST, *later])
    for start in range(0, now + MARGIN, LENGTH * SECOND):
        assert partial.at(start).policy == complete.at(start).policy


@given(changes)
def test_policy_periods_begin_with_windows_and_differ_in_policy(
    later: list[DatedPolicy],
) -> None:
    periods = timeline([FIRST, *later]).periods
    starts = [period.start for period in periods]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert all(start % (LENGTH * SECOND) == 0 for start in starts)
    assert all(a.policy != b.policy for a, b in pairwise(periods))


def can_close(periods: PolicyTimeline, mark: int, end: int) -> bool:
    """Return whether all windows up to `end` can close, checked window by window."""
    ends = range(LENGTH * SECOND, end + 1, LENGTH * SECOND)
    return all(e + periods.at(e - 1).policy.window.grace * SECOND <= mark for e in ends)


@given(changes, moments, st.integers(0, 20))
def test_windows_close_in_order_with_the_grace_of_their_policy_period(
    later: list[DatedPolicy], mark: int, closed: int
) -> None:
    periods = timeline([FIRST, *later])
    since = closed * LENGTH * SECOND
    if not can_close(periods, mark, since):
        since = 0
    done = periods.done(mark, since)
    for end in range(LENGTH * SECOND, mark + 2 * LENGTH * SECOND, LENGTH * SECOND):
        assert (end <= done) == can_close(periods, mark, end)


@given(reshapings, st.lists(moments, min_size=1, max_size=100), st.sets(moments, max_size=9))
def test_windows_of_every_kind_tile_and_belong_to_one_policy_period(
    later: list[DatedPolicy], times: list[int], marks: set[int]
) -> None:
    periods = timeline([FIRST, *later])
    closed, filling, panes = watch(periods.grid, times, [*marks, END_OF_TIME])
    assert (closed, filling, panes) == watch(periods.grid, times, [END_OF_TIME])
    assert not panes
    inside = sum(rows for _, rows in closed) + (filling.rows if filling else 0)
    assert inside == len(times)
    for (window, rows), (following, _) in pairwise([*closed, (Window(END_OF_TIME, 0), 0)]):
        period = periods.at(window.start)
        assert periods.at(window.end - 1) is period, "no window spans two policy periods"
        assert following.start in {window.end, END_OF_TIME} or _gap_is_allowed(
            periods, window, following
        )
        assert rows == sum(window.start <= time < window.end for time in times)


def _gap_is_allowed(periods: PolicyTimeline, window: Window, following: Window) -> bool:
    """Return whether a gap is allowed: windows end by rows, or too many windows are empty."""
    between = range(window.end, following.start, 60 * SECOND)
    lengths = {periods.grid(time).length for time in between}
    return None in lengths or following.start - window.end > LONGEST_GAP * 60 * SECOND


@given(reshapings, moments)
def test_later_window_changes_do_not_alter_windows_already_begun(
    later: list[DatedPolicy], now: int
) -> None:
    partial = timeline([FIRST, *(dated for dated in later if dated.at <= now)])
    complete = timeline([FIRST, *later])
    for time in range(0, now + MARGIN, 60 * SECOND):
        assert partial.grid(time).pane(time) == complete.grid(time).pane(time)


def test_filling_window_ends_where_the_next_policy_period_begins() -> None:
    by_rows = DatedPolicy(policy(1, length=None, rows=100, step=60), 0)
    later = DatedPolicy(policy(1), 1234 * SECOND)
    periods = timeline([by_rows, later])
    assert periods.periods[1].start == 1320 * SECOND  # the first minute after the margin
    closed, _, _ = watch(periods.grid, [0, 1300 * SECOND, 1400 * SECOND], [END_OF_TIME - 1])
    assert closed == [
        (Window(0, 1320 * SECOND), 2),
        (Window(1320 * SECOND, 1800 * SECOND), 1),  # shortened: windows of ten minutes from here on
    ]


def test_policy_change_reverted_at_once_begins_no_period() -> None:
    changed = DatedPolicy(policy(2), 3 * MARGIN)
    back = msgspec.structs.replace(FIRST, at=4 * MARGIN)
    assert len(timeline([FIRST, changed]).periods) == 2
    assert len(timeline([FIRST, changed, back]).periods) == 1


def test_policy_set_before_registration_applies_from_the_beginning() -> None:
    periods = timeline([FIRST, DatedPolicy(policy(2), 0), DatedPolicy(policy(3), 5)]).periods
    assert [(period.start, period.policy.alarms.min_rows) for period in periods] == [
        (0, 2),
        (LENGTH * SECOND, 3),
    ]
