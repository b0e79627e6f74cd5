"""Simulate monitors on partitions and print the first limit: `python -m benchmarks.cluster`.

Models are hashed to partitions, and partitions are divided evenly among monitors, as in a consumer
group. Time passes in ticks of a second. In each tick, a monitor spends its core on its partitions,
including commits. Once, a monitor stops; its partitions are not read until the rebalance is over.
"""

import argparse
from hashlib import blake2b

import msgspec


class Cluster(msgspec.Struct, frozen=True):
    """A cluster, and the costs on one core."""

    rate: float  # predictions per second over all models
    monitors: int
    partitions: int
    models: int = 10_000
    exponent: float = 1.0  # Zipf exponent: the popularity of the n-th model is n ** -exponent
    event_us: float = 40.0  # CPU per event, from docs/performance.md
    commit_ms: float = 15.0  # CPU per commit; one per partition and second; assumed
    scoring_s: float = 2.0  # CPU per scored window; assumed, depends on the model
    window_s: float = 3_600.0
    rebalance_s: float = 10.0  # time until a stopped monitor's partitions are read again


class ClusterLoad(msgspec.Struct, frozen=True):
    """The result of a simulation."""

    hottest_model: float  # cores that the events of the busiest model need
    busiest_monitor: float  # cores that the busiest monitor needs
    mean_monitor: float
    lag_s: float  # lag of the slowest partition at the end
    longest_lag_s: float  # maximum lag after the rebalance
    scoring_cores: float
    limit: str  # the first limit that is reached; empty if none


def popularity(plan: Cluster) -> list[float]:
    """Return the requests per second of each model, busiest first."""
    weights = [n**-plan.exponent for n in range(1, plan.models + 1)]
    return [plan.rate * weight / sum(weights) for weight in weights]


def partitions(plan: Cluster, rates: list[float]) -> list[float]:
    """Return the requests per second of each partition."""
    rate_by_partition = [0.0] * plan.partitions
    for model, rate in enumerate(rates):
        digest = blake2b(str(model).encode(), digest_size=8).digest()
        rate_by_partition[int.from_bytes(digest) % plan.partitions] += rate
    return rate_by_partition


def simulate(plan: Cluster, seconds: int = 600) -> ClusterLoad:
    """Simulate the plan; the first of several monitors stops after a third of the time."""
    rates = popularity(plan)
    demands = partitions(plan, rates)
    owners = [number % plan.monitors for number in range(plan.partitions)]
    demand = _demands(plan, demands, owners)
    behind, longest = [0.0] * plan.partitions, 0.0
    rests_until = [0.0] * plan.partitions
    for now in range(seconds):
        if now == seconds // 3 and plan.monitors > 1:
            orphans = [number for number, owner in enumerate(owners) if owner == 0]
            for at, number in enumerate(orphans):
                owners[number] = 1 + at % (plan.monitors - 1)
                rests_until[number] = now + plan.rebalance_s
        behind = [lag + rate for lag, rate in zip(behind, demands, strict=True)]
        for owner in range(plan.monitors):
            own = [number for number, holder in enumerate(owners) if holder == owner]
            _ingest(plan, behind, [number for number in own if rests_until[number] <= now])
        lags = [lag / rate for lag, rate in zip(behind, demands, strict=True) if rate]
        longest = max(longest, *lags)
    hottest = rates[0] * plan.event_us / 1e6
    busiest = max(demand)
    scoring = plan.models * plan.scoring_s / plan.window_s
    return ClusterLoad(
        hottest_model=hottest,
        busiest_monitor=busiest,
        mean_monitor=sum(demand) / plan.monitors,
        lag_s=max(lags),
        longest_lag_s=longest,
        scoring_cores=scoring,
        limit=_limit(plan, hottest, busiest),
    )


def _demands(plan: Cluster, demands: list[float], owners: list[int]) -> list[float]:
    """Return the number of cores that each monitor needs."""
    cores = [0.0] * plan.monitors
    for owner, rate in zip(owners, demands, strict=True):
        cores[owner] += rate * plan.event_us / 1e6 + plan.commit_ms / 1e3
    return cores


def _ingest(plan: Cluster, behind: list[float], own: list[int]) -> None:
    """Spend one core second on the partitions, smallest backlog first."""
    budget = 1.0 - len(own) * plan.commit_ms / 1e3
    for at, number in enumerate(sorted(own, key=lambda partition: behind[partition])):
        share = max(0.0, budget) / (len(own) - at)
        done = min(behind[number], share * 1e6 / plan.event_us)
        behind[number] -= done
        budget -= done * plan.event_us / 1e6


def _limit(plan: Cluster, hottest: float, busiest: float) -> str:
    if hottest > 1:
        return "one model needs more than a core: sample its payloads"
    if plan.partitions < plan.monitors:
        return "monitors without a partition"
    if busiest > 1:
        return "partitions of one monitor need more than its core"
    return ""


def main() -> None:
    """Print a table for ten thousand to a million predictions per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exponents", type=float, nargs="*", default=[0.6, 1.0])
    options = parser.parse_args()
    print(
        "| predictions/s | Zipf | monitors | partitions | hottest model | busiest monitor | ",
        end="",
    )
    print("lag after a rebalance | scoring cores | first limit |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for exponent in options.exponents:
        for rate in (10_000, 100_000, 1_000_000):
            monitors = max(2, round(rate * Cluster(0, 1, 1).event_us / 1e6 / 0.5))
            for each in (4, 16):
                plan = Cluster(rate, monitors, monitors * each, exponent=exponent)
                outcome = simulate(plan, 120)
                print(
                    f"| {rate:,} | {exponent} | {monitors} | {plan.partitions} | "
                    f"{outcome.hottest_model:.2f} | {outcome.busiest_monitor:.2f} | "
                    f"{outcome.longest_lag_s:.0f} s | {outcome.scoring_cores:.1f} | "
                    f"{outcome.limit or 'none'} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
