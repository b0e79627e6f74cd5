"""The simulated callers of the batching policy, and the bounds of their batches."""

import pytest

from benchmarks.batching_policy import BatchCosts, run_time, simulate
from service.batching.policy import BatchPolicy

RUN = run_time({1: 1_000, 16: 8_000})


@pytest.mark.parametrize(
    ("handling", "caller", "delay", "batch"),
    [
        (0.0, 0.0, 0.0, 16),  # replies cost nothing: everyone is back before the next batch
        (0.0, 50e-6, 0.0, 8),  # callers return one by one: two groups alternate
        (0.0, 50e-6, 1e-3, 16),  # unless the batch waits for them
    ],
)
def test_the_batches_of_callers_that_return(
    handling: float, caller: float, delay: float, batch: int
) -> None:
    policy = BatchPolicy(16, delay)
    rate, mean = simulate(16, BatchCosts(RUN, handling, caller), policy, requests=2_000)
    assert round(mean) == batch
    assert rate <= 16 / RUN(16)
