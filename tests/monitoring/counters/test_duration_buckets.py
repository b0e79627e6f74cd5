"""Duration buckets: mergeable counts within a sixteenth of each duration."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.counters.duration_buckets import bucket, count, middle, quantile
from monitoring.counters.service_health import health

durations = st.lists(st.integers(-5, 2**50), min_size=1, max_size=60)


def _counted(durations: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for duration in durations:
        count(counts, duration)
    return counts


@given(st.integers(0, 2**62))
def test_bucket_middle_is_within_a_sixteenth_of_the_duration(duration: int) -> None:
    assert middle(bucket(duration)) == pytest.approx(duration, rel=1 / 16)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_longer_duration_has_the_same_or_a_higher_bucket(first: int, second: int) -> None:
    low, high = sorted((first, second))
    assert bucket(low) <= bucket(high)


@given(durations, durations)
def test_bucket_counts_of_two_parts_add_up_to_the_whole(
    first: list[int], second: list[int]
) -> None:
    assert Counter(_counted(first)) + Counter(_counted(second)) == _counted([*second, *first])


@given(durations, st.sampled_from([0.5, 0.9, 0.99]))
def test_bucket_quantile_is_within_a_sixteenth_of_the_exact_quantile(
    values: list[int], share: float
) -> None:
    exact = np.quantile(np.maximum(values, 0), share, method="inverted_cdf")
    assert quantile(_counted(values), share) == pytest.approx(exact, rel=1 / 16)


def test_quantile_without_durations_is_none() -> None:
    assert quantile({}, 0.5) is None


def test_health_gives_shares_and_quantiles_or_the_reason_for_none() -> None:
    events = {"ok": 6, "failed": 1, "expired": 1, "refused": 1, "invalid": 1}
    latency = _counted([1_000_000] * 5 + [2_000_000])
    reported = {score.name: score for score in health(events, latency, {})}
    assert reported["error_share"].value == 0.3
    assert reported["invalid_share"].value == 0.1
    assert reported["latency_p50"].value == pytest.approx(1, rel=1 / 16)
    assert reported["latency_p99"].value == pytest.approx(2, rel=1 / 16)
    assert (reported["label_delay_p50"].value, reported["label_delay_p50"].note) == (
        None,
        "no label has arrived",
    )
    assert health({}, {}, {}) == []
