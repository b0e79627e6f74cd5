"""Intervals and limits: what passes, what fails, and what lacks data."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.gates.comparison import Estimate, compare, judge_difference, judge_limit

_NUMBERS = st.floats(-100, 100)
_LIMITS = st.none() | _NUMBERS


@st.composite
def _estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(_NUMBERS, _NUMBERS, _NUMBERS)))
    return Estimate(value, low, high)


@given(_estimates(), _LIMITS, _LIMITS, st.sampled_from(["value", "interval"]))
def test_a_figure_passes_if_it_is_within_the_limits(
    figure: Estimate, at_least: float | None, at_most: float | None, by: Any
) -> None:
    assert figure.value is not None
    outcome = judge_limit(figure, at_least, at_most, by)
    within = (at_least is None or figure.value >= at_least) and (
        at_most is None or figure.value <= at_most
    )
    if outcome == "passed":
        assert within
    if outcome == "failed":
        assert not within
    if by == "value":
        assert outcome == ("passed" if within else "failed")


@given(_LIMITS, st.sampled_from(["value", "interval"]))
def test_a_missing_figure_means_not_enough_data(limit: float | None, by: Any) -> None:
    assert judge_limit(Estimate(None), limit, None, by) == "not enough data"
    assert judge_limit(Estimate(1.0), limit, None, "interval") == "not enough data"


@given(_estimates(), st.floats(0, 10))
def test_by_interval_nothing_passes_without_evidence(better: Estimate, worse_by: float) -> None:
    outcome = judge_difference(better, worse_by)
    assert better.low is not None
    assert (outcome == "passed") == (better.low >= -worse_by)


def test_equal_predictions_have_no_difference() -> None:
    hits = np.random.default_rng(1).random(200) < 0.8

    def share(rows: Any) -> float:
        return float(hits[rows].mean())

    found = compare(200, share, share)
    assert found.better == Estimate(0.0, 0.0, 0.0)
    assert found.candidate.low < found.candidate.value < found.candidate.high  # type: ignore[operator]
    assert compare(200, share, share) == found  # seeded


def test_paired_figures_cancel_common_errors() -> None:
    """A small but consistent gain is seen, although both intervals overlap widely."""
    random = np.random.default_rng(2)
    champion = random.random(2_000) < 0.7
    candidate = champion | (random.random(2_000) < 0.05)
    found = compare(
        2_000, lambda rows: float(candidate[rows].mean()), lambda rows: float(champion[rows].mean())
    )
    assert found.better.low is not None
    assert found.better.low > 0
    assert found.candidate.low < found.champion + 0.02  # type: ignore[operator]


def test_intervals_have_their_stated_coverage() -> None:
    """Of 200 data sets, about 95 % of the intervals hold the true difference."""
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        one, other = random.random(150) < 0.75, random.random(150) < 0.7
        found = compare(
            150,
            lambda rows, one=one: float(one[rows].mean()),  # type: ignore[misc]
            lambda rows, other=other: float(other[rows].mean()),  # type: ignore[misc]
            draws=200,
        ).better
        held += found.low <= 0.05 <= found.high  # type: ignore[operator]
    assert held / 200 == pytest.approx(0.95, abs=0.04)


def test_a_lower_figure_can_be_better() -> None:
    found = compare(10, lambda _: 1.0, lambda _: 3.0, lower_is_better=True)
    assert found.better.value == 2.0
    assert judge_difference(found.better, 0.0) == "passed"


def test_a_figure_undefined_in_many_draws_has_no_interval() -> None:
    found = compare(4, lambda rows: 1.0 if len(set(rows)) == 4 else None)
    assert found.candidate == Estimate(1.0, None, None)
