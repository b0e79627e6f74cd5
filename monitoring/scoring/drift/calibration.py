"""Derive drift thresholds from the false-alarm budget.

A window can drift in three ways: a share of its columns drifts, one column drifts strongly (by its
values or its share of missing values), or the correlations between columns change. The three checks
together must meet the false-alarm budget. Windows that are drawn from the reference
(`null_distribution.py`) give the distribution of each statistic without drift, and each statistic
is expressed as a surprisal (`tails.py`). All three checks get the same probability. It is chosen so
that the drawn windows break the drift rule at the budgeted rate, given the number of consecutive
windows that an alarm needs.

A difference below a practical floor is never drift, however significant it is.
"""

from collections.abc import Mapping
from math import ceil

import msgspec
import numpy as np

from monitoring.scoring.drift.null_distribution import DRAWS, NullDistribution
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.score_rules import Array

_LEAST = float(-np.log(0.01))  # minimum surprisal at which a column counts for the drifted share
_SEEN = 0.02  # probabilities below this are extrapolated instead of counted among the draws
_COUNTED = 0.004  # smallest probability that is estimated by counting broken windows
_STEPS = 30  # bisection steps
_SMALLEST = 1e-9


class DriftLimits(msgspec.Struct, frozen=True):
    """Thresholds of the drift statistics for one window size."""

    drifted: dict[str, float]  # statistic -> threshold from which its column is drifted
    alone: dict[str, float]  # statistic -> threshold from which it breaks the rule by itself
    joint: float  # threshold of the joint drift, in usual changes
    met: bool  # False if limits that the user fixed exceed the false-alarm budget


class _DriftCheck:
    """One of the three checks: the surprisal of each drawn window, or -1 below the floor."""

    def __init__(self, surprisals: Array, least: float) -> None:
        self._surprisals = surprisals
        self._least = least
        self._edge = float(np.quantile(surprisals, 1 - _SEEN))

    def reach(self, chance: float) -> float:
        """Return the surprisal that a window reaches with probability `chance`.

        A probability that is too small for the number of draws is extrapolated: a surprisal that
        is greater by 1 is rarer by a factor of e.
        """
        if chance < _SEEN:
            surprisal = self._edge + float(np.log(_SEEN / chance))
        else:
            surprisal = float(np.quantile(self._surprisals, 1 - chance))
        return max(surprisal, self._least)

    def broken(self, chance: float) -> Array:
        """Return for each draw whether it breaks the check at this probability."""
        broken: Array = self._surprisals >= self.reach(chance)
        return broken


def calibrate(  # noqa: PLR0913 - five settings of one calculation
    columns: Mapping[str, NullDistribution],
    joint: NullDistribution | None,
    *,
    share: float,
    level: float,
    windows: int,
    consecutive: int,
) -> DriftLimits:
    """Return thresholds that a window without drift breaks with probability `level`.

    - `share`: share of drifted features that makes a window drifted
    - `windows`: number of windows that are drawn for each drawn reference
    - `consecutive`: number of consecutive windows that an alarm needs
    """
    tails = {name: Tail(drawn.values) for name, drawn in columns.items()}
    checks = [
        _DriftCheck(_share_surprisals(columns, tails, share), _LEAST),
        _DriftCheck(_strongest_surprisals(columns, tails), 0.0),
    ]
    if joint is not None:
        tail = Tail(joint.values)
        checks.append(_DriftCheck(tail.surprisal(joint.values), 0.0))
    chance = _common_chance(checks, level, windows, consecutive)
    shared_surprisal, single_surprisal = (check.reach(chance) for check in checks[:2])
    alone = {
        n: _limit(max(d.strong, d.fixed or 0), tails[n], single_surprisal)
        for n, d in columns.items()
    }
    drifted = {
        # A column whose drift breaks the rule by itself is also counted as drifted.
        n: min(alone[n], _limit(d.floor, tails[n], shared_surprisal))
        if d.fixed is None
        else d.fixed
        for n, d in columns.items()
    }
    columns_broken = _broken_fixed(columns, share)
    return DriftLimits(
        drifted,
        alone,
        0.0 if joint is None else tail.value(checks[2].reach(chance)),
        columns_broken is None or _chance(columns_broken, windows, consecutive) <= level,
    )


def _limit(floor: float, tail: Tail, surprisal: float) -> float:
    return round(max(floor, tail.value(surprisal)), 6)


def _above_floor(floor: float, values: Array, tail: Tail) -> Array:
    """Return the surprisal of each value, or -1 for values below the floor."""
    surprisals: Array = np.where(values >= floor, tail.surprisal(values), -1.0)
    return surprisals


def _share_surprisals(
    columns: Mapping[str, NullDistribution], tails: Mapping[str, Tail], share: float
) -> Array:
    """Return the k-th greatest surprisal of each draw, where k columns are the drifted share."""
    parts = [
        _above_floor(drawn.floor if drawn.fixed is None else np.inf, drawn.values, tails[name])
        for name, drawn in columns.items()
        if drawn.shared
    ]
    return _kth_greatest(parts, share)


def _kth_greatest(parts: list[Array], share: float) -> Array:
    if not parts:
        return np.full(DRAWS, -1.0)
    enough = max(1, ceil(share * len(parts) - 1e-9))
    least: Array = np.sort(np.column_stack(parts), axis=1)[:, -enough]
    return least


def _strongest_surprisals(
    columns: Mapping[str, NullDistribution], tails: Mapping[str, Tail]
) -> Array:
    """Return for each draw the greatest surprisal among the columns above their floor."""
    parts = [
        _above_floor(max(drawn.strong, drawn.fixed or 0.0), drawn.values, tails[name])
        for name, drawn in columns.items()
    ]
    return np.max(parts, axis=0) if parts else np.full(DRAWS, -1.0)


def _broken_fixed(columns: Mapping[str, NullDistribution], share: float) -> Array | None:
    """Return for each draw whether it breaks the user's limits; None if the user fixed none."""
    if all(drawn.fixed is None for drawn in columns.values()):
        return None
    parts = [
        (drawn.values >= (np.inf if drawn.fixed is None else drawn.fixed)).astype(float)
        for drawn in columns.values()
        if drawn.shared
    ]
    broken: Array = _kth_greatest(parts, share) > 0
    return broken


def _common_chance(
    checks: list[_DriftCheck], level: float, windows: int, consecutive: int
) -> float:
    """Return the probability of each check at which all together reach `level` (bisection)."""

    def chance_of_all(chance: float) -> float:
        broken = np.any([check.broken(chance) for check in checks], axis=0)
        return _chance(broken, windows, consecutive)

    probability = chance_of_all(_COUNTED)
    if probability > level:
        return _COUNTED * level / probability
    low, high = _COUNTED, max(level, _COUNTED)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance_of_all(middle) <= level else (low, middle)
    return low


def _chance(broken: Array, windows: int, consecutive: int) -> float:
    """Return the per-window probability that `consecutive` windows in a row break the rule.

    Windows of the same drawn reference are correlated, because they share its deviation. The
    correlation is estimated from pairs of the `windows` of one reference. For more windows in a
    row, the probability per reference is assumed to have a beta distribution.
    """
    counts = broken.reshape(-1, windows).sum(axis=1).astype(float)
    single = float(np.mean(counts)) / windows
    pairs = float(np.mean(counts * (counts - 1))) / (windows * (windows - 1))
    if not 0 < single < 1:
        return single
    correlation = min(max((pairs - single**2) / (single - single**2), 0.0), 1 - _SMALLEST)
    steps = range(consecutive)
    powers = [
        (single * (1 - correlation) + n * correlation) / (1 - correlation + n * correlation)
        for n in steps
    ]
    return float(np.prod(powers) ** (1 / consecutive))
