"""Simulate rollout verdicts to measure their error rates and the number of keys that they need.

Keys arrive one by one. A key is in the new version's arm with probability `share`, and bad with its
arm's rate. The evidence is checked after every key. One metric decides, with its part
of the budget that four metrics and four steps share.
"""

from typing import NamedTuple

import click
import numpy as np

from monitoring.rollouts.evidence import (
    arm_probability,
    excess_evidence,
    lower_rate,
    upper_rate,
)
from monitoring.rollouts.verdict import METRICS
from registry.history.rows import VerdictPolicy

POLICY = VerdictPolicy()
BUDGET = POLICY.false_rollback / len(METRICS) / 4
MOST = 200_000  # maximum keys of one run
SHARES = (0.05, 0.1, 0.5)


class BadKeyShares(NamedTuple):
    """Shares of bad keys of the old and the new version."""

    before: float
    new: float


def keys_until_rollback(
    share: float, rates: BadKeyShares, chance: np.random.Generator, most: int = MOST
) -> float:
    """Return the number of keys until a rollback; infinity if there is none."""
    new = chance.random(most) < share
    bad = chance.random(most) < np.where(new, rates.new, rates.before)
    places = np.flatnonzero(bad)
    counted = np.cumsum(new[places])
    at = arm_probability(share, POLICY.tolerate)
    evidence = excess_evidence(counted, np.arange(1, len(places) + 1) - counted, at)
    reached = np.flatnonzero(evidence >= -np.log(BUDGET))
    return float(places[reached[0]] + 1) if len(reached) else float("inf")


def keys_until_promotion(
    share: float, rates: BadKeyShares, chance: np.random.Generator, most: int = MOST
) -> float:
    """Return the number of keys until one metric allows the next step; infinity if never."""
    new = chance.random(most) < share
    bad = chance.random(most) < np.where(new, rates.new, rates.before)
    total, of_new = 0, 0
    for keys in np.unique(np.geomspace(50, most, 60).astype(int)):
        first, arm = bad[:keys], new[:keys]
        total, of_new = keys - int(arm.sum()), int(arm.sum())
        usual = lower_rate(int((first & ~arm).sum()), total, POLICY.false_promotion / 2)
        limit = max(POLICY.floor, POLICY.tolerate * usual)
        if upper_rate(int((first & arm).sum()), of_new, POLICY.false_promotion / 2) <= limit:
            return float(keys)
    return float("inf")


@click.command()
@click.option("--runs", default=400, show_default=True, help="Runs of each setting.")
def main(runs: int) -> None:
    """Print the rates of verdicts and the median number of keys that they need."""
    cases = [BadKeyShares(0.02, new) for new in (0.02, 0.025, 0.03, 0.04, 0.06)] + [
        BadKeyShares(0.0, 0.0), BadKeyShares(0.001, 0.001), BadKeyShares(0.3, 0.3),
        BadKeyShares(0.3, 0.5), BadKeyShares(0.05, 0.15)
    ]  # fmt: skip
    print("| before | new | share | rolled back | keys | promoted | keys |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for rates in cases:
        for share in SHARES:
            chance = np.random.default_rng(7)
            back = np.array([keys_until_rollback(share, rates, chance) for _ in range(runs)])
            on = np.array([keys_until_promotion(share, rates, chance) for _ in range(runs // 4)])
            print(
                f"| {rates.before:.1%} | {rates.new:.1%} | {share:.0%} | {_finite(back)} | "
                f"{_finite(on)} |",
                flush=True,
            )


def _finite(keys: np.ndarray) -> str:
    finite = keys[np.isfinite(keys)]
    middle = f"{np.median(keys):,.0f}" if np.isfinite(np.median(keys)) else "-"
    return f"{len(finite) / len(keys):.1%} | {middle}"


if __name__ == "__main__":
    main()
