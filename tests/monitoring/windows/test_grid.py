"""Window boundaries: by time, by rows, or by whichever comes first."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.results import Window
from monitoring.windows.grid import (
    END_OF_TIME,
    LONGEST_GAP,
    SECOND,
    Close,
    CountedSpan,
    Fill,
    Grid,
    grid,
    next_steps,
)
from registry.manifest import WindowPolicy
from tests.monitoring.windows.closing_windows import watch

HOUR = 3600 * SECOND
HOURLY = Grid(HOUR, HOUR, None)
MINUTE = 60 * SECOND
grids = st.builds(
    lambda hours, minutes, rows, offset: Grid(
        hours and hours * HOUR, minutes * MINUTE, rows, offset=offset * MINUTE
    ),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([1, 5, 20]),
    st.integers(1, 40),
    st.sampled_from([0, 7, 59]),
)
moments = st.integers(1, 12 * HOUR)


def _closed_windows(
    grid: Grid, times: Iterable[int], marks: Iterable[int]
) -> list[tuple[Window, int]]:
    """Return the closed windows with their rows, checked at every mark."""
    closed, filling, left = watch(lambda _: grid, times, marks)
    assert filling is None or grid.length is None
    assert not left
    return closed


@given(grids, st.lists(moments, min_size=1, max_size=200), st.sets(moments, max_size=20))
def test_windows_do_not_depend_on_how_often_they_are_checked(
    grid: Grid, times: list[int], marks: set[int]
) -> None:
    assert _closed_windows(grid, times, {*marks, END_OF_TIME}) == _closed_windows(
        grid, times, [END_OF_TIME]
    )


@given(grids, st.lists(moments, min_size=1, max_size=200))
def test_windows_tile_and_end_by_their_rows_or_by_their_length(
    grid: Grid, times: list[int]
) -> None:
    closed = _closed_windows(grid, times, [END_OF_TIME])
    for (window, rows), (following, _) in pairwise([*closed, (Window(END_OF_TIME, 0), 0)]):
        assert following.start in {window.end, END_OF_TIME}, "windows tile"
        assert window.start < window.end <= grid.latest_end(window.start), "no window is too long"
        last = [time for time in times if window.end - grid.step <= time < window.end]
        assert grid.rows is not None
        assert rows - len(last) < grid.rows, "no window continues after it has enough rows"
        assert rows >= grid.rows or window.end == grid.latest_end(window.start)
    inside = sum(rows for _, rows in closed)
    assert inside == len(times) if grid.length else inside <= len(times)


@given(st.sets(st.integers(1, 60), min_size=1))
def test_windows_by_time_close_in_order_including_empty_windows(hours: set[int]) -> None:
    closed = _closed_windows(
        HOURLY, [hour * HOUR + 1 for hour in hours], range(0, 70 * HOUR, HOUR // 2)
    )
    assert [window.start // HOUR for window, _ in closed] == list(range(min(hours), max(hours) + 1))
    assert all(window.end - window.start == HOUR for window, _ in closed)
    assert [rows for _, rows in closed] == [
        int(window.start // HOUR in hours) for window, _ in closed
    ]


@given(st.integers(0, 2**52), st.integers(1, 10**7))
def test_pane_contains_its_time_and_panes_tile(time: int, length: int) -> None:
    hourly = grid(WindowPolicy(length=length))
    pane = hourly.pane(time)
    assert pane.start <= time < pane.end == hourly.latest_end(time)
    assert pane.end - pane.start == length * SECOND
    assert hourly.pane(pane.end).start == pane.end


def test_weeks_begin_on_mondays_with_an_offset_of_four_days() -> None:
    weekly = grid(WindowPolicy(length=7 * 86_400, offset=4 * 86_400))
    moment = int(datetime(2026, 11, 29, 23, 59, tzinfo=UTC).timestamp()) * SECOND
    assert datetime.fromtimestamp(weekly.pane(moment).start / SECOND, UTC).strftime("%a %F %T") == (
        "Mon 2026-11-23 00:00:00"
    )
    assert grid(WindowPolicy(length=7 * 86_400)).offset == 0, (
        "windows of earlier releases are unchanged"
    )


@pytest.mark.parametrize("length", ["null", "3600"])
def test_offset_must_be_smaller_than_the_length(length: str) -> None:
    stated = f'{{"length": {length}, "rows": 9, "offset": 3600}}'
    with pytest.raises(msgspec.ValidationError, match=f"offset is 3600; .* length, {length}"):
        msgspec.json.decode(stated, type=WindowPolicy)


def test_window_by_rows_begins_at_the_previous_end_and_ends_by_time() -> None:
    both = Grid(HOUR, MINUTE, 2)
    times = [10 * HOUR + 1, 10 * HOUR + 2, 10 * HOUR + 30 * MINUTE, 12 * HOUR + MINUTE]
    assert _closed_windows(both, times, [13 * HOUR]) == [
        (Window(10 * HOUR, 10 * HOUR + MINUTE), 2),
        (Window(10 * HOUR + MINUTE, 11 * HOUR), 1),
        (Window(11 * HOUR, 12 * HOUR), 0),
        (Window(12 * HOUR, 13 * HOUR), 1),
    ]


def test_window_by_rows_without_length_spans_silence() -> None:
    by_rows = Grid(None, MINUTE, 2)
    times = [MINUTE + 1, 100 * HOUR, 100 * HOUR + 1]
    assert _closed_windows(by_rows, times, [END_OF_TIME]) == [
        (Window(MINUTE, 100 * HOUR + MINUTE), 3),
    ]


@pytest.mark.parametrize(("gap", "shown"), [(0, 0), (1, 1), (LONGEST_GAP, LONGEST_GAP)])
def test_empty_windows_of_a_gap_are_shown(gap: int, shown: int) -> None:
    closed = _closed_windows(HOURLY, [10 * HOUR, (11 + gap) * HOUR], [(12 + gap) * HOUR])
    assert [window.start // HOUR for window, _ in closed] == [10 + n for n in range(shown + 2)]


def test_gap_beyond_the_limit_is_skipped_and_later_windows_close() -> None:
    closed = _closed_windows(HOURLY, [10 * HOUR, (12 + LONGEST_GAP) * HOUR], [END_OF_TIME])
    assert [window.start // HOUR for window, _ in closed] == [10, 12 + LONGEST_GAP]


def test_pane_is_complete_exactly_at_its_end() -> None:
    pane = CountedSpan(Window(HOUR, 2 * HOUR), 1)
    assert next_steps(lambda _: HOURLY, None, [pane], 0, 2 * HOUR - 1) == []
    fill, close = next_steps(lambda _: HOURLY, None, [pane], 0, 2 * HOUR)
    assert (fill, close) == (Fill(pane.window, pane.window), Close(pane.window))


@pytest.mark.parametrize(
    ("stated", "wrong"),
    [
        ({"length": None}, "state length, rows or both"),
        ({"length": 3600, "rows": 10, "step": 7}, "expected a multiple of step, 7"),
        ({"rows": 0}, ">= 1"),
    ],
)
def test_impossible_window_policies_are_refused(stated: dict[str, int | None], wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(stated, WindowPolicy)
