"""Sequential tests and bounds of rates of bad keys, valid at any number of checks. Pure.

A bad key is a routing key with a failed, slow, invalid or wrong answer (verdict.py). If both
versions have the same rate of bad keys, a bad key is in the new version's arm with a probability p
that does not depend on the rate. The likelihood ratio of a mixture of alternatives is then a test
martingale (Lindon and Malek 2022). The probability that it ever reaches 1 / budget is at most the
budget.
"""

from math import log, log1p
from typing import Any

import numpy as np
from scipy.special import betainc, betaln

Counts = Any  # a number, or an array of numbers
Evidence = Any  # floats in the same shape


def arm_probability(share: float, tolerate: float) -> float:
    """Return the probability that a bad key is in the new version's arm.

    The arm has `share` of the keys, and its rate of bad keys is `tolerate` times the other arm's.
    """
    return share * tolerate / (share * tolerate + 1 - share)


def excess_evidence(bad: Counts, bad_before: Counts, p: float) -> Evidence:
    """Return the log of the evidence that more than p of the bad keys are in the new arm.

    The alternatives have a Beta distribution with mean p, truncated to values above p. The counts
    can be numbers or arrays.
    """
    a, b = 1.0, max(1.0, (1 - p) / p)
    with np.errstate(divide="ignore"):  # the log of 0 stands for no evidence
        above = np.log(betainc(b + bad_before, a + bad, 1 - p)) - np.log(betainc(b, a, 1 - p))
    mixture = betaln(a + bad, b + bad_before) - betaln(a, b) + above
    evidence: Evidence = mixture - bad * np.log(p) - bad_before * np.log1p(-p)
    return evidence


def upper_rate(bad: int, keys: int, budget: float) -> float:
    """Return an upper bound of the rate of bad keys, valid at any number of checks."""
    low, high = bad / keys if keys else 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(bad, keys, middle, budget) else (low, middle)
    return high


def lower_rate(bad: int, keys: int, budget: float) -> float:
    """Return a lower bound of the rate of bad keys, valid at any number of checks."""
    return 1 - upper_rate(keys - bad, keys, budget)


def _fits(bad: int, keys: int, rate: float, budget: float) -> bool:
    """Return whether the counts do not exclude this rate."""
    if rate >= 1:
        return bad == keys
    evidence = betaln(1 + bad, 1 + keys - bad) - bad * log(rate) if bad else betaln(1, 1 + keys)
    return bool(evidence - (keys - bad) * log1p(-rate) < -log(budget))
