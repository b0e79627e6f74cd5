"""Judge figures by limits and against the champion, with bootstrap intervals. Pure.

Candidate and champion are measured on the same drawn rows (paired bootstrap, percentile interval),
so errors that both make cancel out. The draws are seeded, so equal rows give equal intervals.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from registry.gates.specification import By
from registry.history.rows import GateVerdict

Array = np.ndarray[Any, Any]
Measure = Callable[[Array], float | None]  # row numbers -> figure, or None if undefined

DRAWS = 500
_SEED = 20261129
_DEFINED = 0.9  # least share of draws with a defined figure that an interval needs


class Estimate(NamedTuple):
    """A figure and its interval; None for undefined values."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Compared(NamedTuple):
    """The figures of both versions and their difference."""

    candidate: Estimate
    champion: float | None
    better: Estimate  # difference, positive if the candidate is better


def compare(  # noqa: PLR0913  # both versions and the options of the bootstrap
    rows: int,
    candidate: Measure,
    champion: Measure | None = None,
    *,
    lower_is_better: bool = False,
    error: float = 0.05,
    draws: int = DRAWS,
) -> Compared:
    """Measure both versions on all rows and on drawn rows.

    Each interval contains a share of `1 - error` of the draws.
    """
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

    By `interval`, the figure passes if its whole interval is within the limits, and fails if its
    whole interval is beyond a limit. Otherwise, there is not enough data.
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
    """Judge how much a candidate is better than the champion; it can be worse by `worse_by`.

    By `interval`, this is a test of non-inferiority: missing evidence does not pass.
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
    """Return the bounds of the middle `1 - error` of the draws, or None if too few are defined."""
    finite_draws = [draw for draw in draws if draw is not None and np.isfinite(draw)]
    if not finite_draws or len(finite_draws) < _DEFINED * len(draws):
        return None, None
    low, high = np.quantile(finite_draws, [error / 2, 1 - error / 2])
    return float(low), float(high)
