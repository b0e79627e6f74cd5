"""Exact quality counters agree with shares computed from the values."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from monitoring.counters.domain_reader import read_domain
from monitoring.counters.window_counters import InputCounters
from monitoring.results import Score
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.window_scorer import frame

PRICES = st.none() | st.floats(-6, 6) | st.integers(-3, 3) | st.just(float("inf"))
COLOURS = st.sampled_from([None, "red", "blue", "green", 1, "1"])
COUNTED = {"missing_share", "out_of_range_share", "unseen_share"}


def _counted(scores: list[Score]) -> list[Score]:
    return [score for score in scores if score.name in COUNTED]


@given(st.lists(st.tuples(PRICES, COLOURS), min_size=1, max_size=60))
def test_shares_from_counts_equal_shares_from_rows(
    baseline: Baseline, rows: list[tuple[Any, Any]]
) -> None:
    prices, colours = (list(column) for column in zip(*rows, strict=True))
    inputs = InputCounters()
    inputs.add(read_domain(baseline.version).codes(rows))
    window = frame({"price": prices, "colour": colours})
    from_rows = _counted(score_quality(baseline, window))
    assert _counted(score_quality(baseline, window, inputs=inputs)) == from_rows
    assert {score.name for score in from_rows} == COUNTED


def test_shares_cover_all_rows_if_the_stored_rows_are_a_sample(
    baseline: Baseline, window: Callable[..., pd.DataFrame]
) -> None:
    inputs = InputCounters(rows=50_000, withheld=7, missing=[5_000, 1], outside=[9, 49_999])
    scores = {
        (score.name, score.column): score.value
        for score in _counted(score_quality(baseline, window(), inputs=inputs))
    }
    assert scores == {
        ("missing_share", "price"): 0.1,
        ("out_of_range_share", "price"): 9 / 45_000,
        ("missing_share", "colour"): 2e-05,
        ("unseen_share", "colour"): 1.0,
    }
