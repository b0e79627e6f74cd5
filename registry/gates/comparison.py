"""Judge figures by limits and by the champion on the same rows, with bootstrap intervals. Pure.

Candidate and champion are measured on the same drawn rows (paired bootstrap, percentile interval),
so what both get wrong cancels out. Draws are seeded: equal rows give equal intervals.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from registry.gates.specification import By
from registry.history.rows import GateVerdict

Array = np.ndarray[Any, Any]
Measure = Callable[[Array], float | None]  # row numbers -> figure; None: not defined for these rows

DRAWS = 500
_SEED = 20261129
_DEFINED = 0.9  # share of draws with a figure, below which there is no interval


class Estimate(NamedTuple):
    """A figure and its interval; None if they are not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Compared(NamedTuple):
    """The figure of both versions, and by how much the candidate is better."""

    candidate: Estimate
    champion: float | None
    better: Estimate


def compare(  # noqa: PLR0913  # both sides, and how to draw
    rows: int,
    candidate: Measure,
    champion: Measure | None = None,
    *,
    lower_is_better: bool = False,
    error: float = 0.05,
    draws: int = DRAWS,
) -> Compared:
    """Measure both on all rows and on drawn rows; `error`: share outside of each interval."""
    everyone = np.arange(rows)
    value = candidate(everyone)
    other = None if champion is None else champion(everyone)
    random = np.random.default_rng(_SEED)
    candidate_draws: list[float | None] = []
    apart: list[float | None] = []
    for _ in range(draws if rows else 0):
        drawn = random.integers(rows, size=rows)
        mine = candidate(drawn)
        candidate_draws.append(mine)
        if champion is not None:
            apart.append(_better(mine, champion(drawn), lower_is_better=lower_is_better))
    better = _better(value, other, lower_is_better=lower_is_better)
    return Compared(
        Estimate(value, *percentile_interval(candidate_draws, error)),
        other,
        Estimate(better, *percentile_interval(apart, error)),
    )


def judge_limit(
    figure: Estimate, at_least: float | None, at_most: float | None, by: By = "value"
) -> GateVerdict:
    """Judge a figure by its limits.

    By `interval`, it passes if the whole interval is within the limits, and fails if the whole
    interval is beyond one; in between there is not enough data.
    """
    if figure.value is None:
        return "not enough data"
    low, high = (figure.value, figure.value) if by == "value" else (figure.low, figure.high)
    if low is None or high is None:
        return "not enough data"
    least = -np.inf if at_least is None else at_least
    most = np.inf if at_most is None else at_most
    if low >= least and high <= most:
        return "passed"
    return "failed" if high < least or low > most or by == "value" else "not enough data"


def judge_difference(better: Estimate, worse_by: float, by: By = "interval") -> GateVerdict:
    """Judge by how much a candidate is better; it may be worse by `worse_by`.

    By `interval` this is a test of non-inferiority: no evidence of being worse is not enough.
    """
    return judge_limit(better, -worse_by, None, by)


def _better(
    candidate: float | None, champion: float | None, *, lower_is_better: bool
) -> float | None:
    if candidate is None or champion is None:
        return None
    return champion - candidate if lower_is_better else candidate - champion


def percentile_interval(
    draws: Sequence[float | None], error: float
) -> tuple[float | None, float | None]:
    """Return the bounds of the middle `1 - error` of the draws; None if too few are defined."""
    finite_draws = [draw for draw in draws if draw is not None and np.isfinite(draw)]
    if not finite_draws or len(finite_draws) < _DEFINED * len(draws):
        return None, None
    low, high = np.quantile(finite_draws, [error / 2, 1 - error / 2])
    return float(low), float(high)
