"""The cluster simulation, on plans with a known outcome."""

from msgspec.structs import replace

from benchmarks.cluster import Cluster, simulate

PLAN = Cluster(rate=10_000, monitors=2, partitions=8, models=500)


def test_a_rebalance_costs_its_rest_while_there_is_spare_cpu() -> None:
    found = simulate(PLAN, 90)
    assert (found.limit, found.lag_s) == ("", 0.0)
    assert PLAN.rebalance_s - 1 <= found.longest_lag_s <= PLAN.rebalance_s + 1


def test_the_first_limit_is_named() -> None:
    hot = simulate(replace(PLAN, rate=400_000, monitors=40, partitions=160), 30)
    assert hot.limit.startswith("one model needs more than a core")
    few = simulate(replace(PLAN, monitors=10), 30)
    assert few.limit == "monitors without a partition"
    full = simulate(replace(PLAN, rate=90_000, exponent=0.0), 30)
    assert full.limit == "partitions of one monitor need more than its core"
    assert full.lag_s > 0
