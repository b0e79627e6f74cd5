"""Totals of closed windows: each window counts once, by its newest result."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.results import Result, Verdict, Window
from monitoring.windows.totals import ClosedTotals, add, add_up

results = st.builds(
    lambda start, labelled, waiting, verdict: Result(
        model="m",
        version="1",
        window=Window(start, start + 1),
        rows=labelled + waiting,
        labelled=labelled,
        pending=waiting,
        verdict=verdict,
    ),
    st.integers(0, 5),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(get_args(Verdict)),
)


@given(st.lists(results, max_size=30))
def test_incremental_totals_equal_the_totals_of_the_newest_results(
    events: list[Result],
) -> None:
    closed = ClosedTotals()
    newest: dict[int, Result] = {}
    for result in events:
        closed = add(closed, result, newest.get(result.window.start))
        newest[result.window.start] = result
    assert replace(closed, newest={}) == replace(add_up(newest.values()), newest={})
    assert sum(closed.windows.values()) == len(newest)
    assert closed.rows == closed.labelled + closed.pending + closed.expired


@given(st.lists(results, max_size=30))
def test_totals_record_the_last_windows_with_labels(events: list[Result]) -> None:
    newest = add_up(events).newest
    labelled = [result.window.start for result in events if result.labelled]
    settled = [result.window.start for result in events if result.rows and not result.pending]
    assert newest.get("labels") == max(labelled, default=None)
    assert newest.get("all labels") == max(settled, default=None)
