"""Rollout evidence stays within its error budget at every check and detects differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.rollouts.evidence import (
    arm_probability,
    excess_evidence,
    lower_rate,
    upper_rate,
)
from tests.depth import by_depth

RUNS = by_depth(200, 5_000)
BUDGET = 0.05


def _share_of_runs_over_the_budget(share: float, ratio: float, keys: int, seed: int) -> float:
    """Return the share of runs in which the evidence ever reaches 1 / BUDGET."""
    chance = np.random.default_rng(seed)
    at = arm_probability(share, 1.0)
    real = arm_probability(share, ratio)
    reached = 0
    for _ in range(RUNS):
        bad = 0
        for total, new in enumerate(chance.random(keys) < real, 1):
            bad += new
            if new and excess_evidence(bad, total - bad, at) >= -np.log(BUDGET):
                reached += 1
                break
    return reached / RUNS


@pytest.mark.untraced
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_equal_arms_exceed_the_budget_as_rarely_as_stated(share: float) -> None:
    assert (
        _share_of_runs_over_the_budget(share, 1.0, 150, 1)
        <= BUDGET + 3 * (BUDGET * (1 - BUDGET) / RUNS) ** 0.5
    )


@pytest.mark.parametrize(("share", "ratio", "keys"), [(0.5, 3.0, 80), (0.1, 3.0, 150)])
def test_threefold_error_rate_is_detected(share: float, ratio: float, keys: int) -> None:
    assert _share_of_runs_over_the_budget(share, ratio, keys, 2) > 0.9


@given(st.integers(0, 50), st.integers(0, 200), st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_bad_keys_of_the_new_arm_add_evidence_and_of_the_old_arm_reduce_it(
    bad: int, before: int, p: float
) -> None:
    now = excess_evidence(bad, before, p)
    assert excess_evidence(bad + 1, before, p) >= now
    assert excess_evidence(bad, before + 1, p) <= now


@given(st.integers(0, 300), st.integers(0, 300))
def test_rate_bounds_enclose_the_observed_rate(bad: int, good: int) -> None:
    keys = bad + good
    low, high = lower_rate(bad, keys, 0.05), upper_rate(bad, keys, 0.05)
    assert 0 <= low <= (bad / keys if keys else 0.5) <= high <= 1


def test_upper_rate_is_one_without_keys_and_low_after_many_good_keys() -> None:
    assert upper_rate(0, 0, 0.05) == pytest.approx(1)
    assert upper_rate(0, 2_000, 0.025) < 0.01
