"""Derive drift thresholds from the false-alarm budget.

A window drifts in one of three ways: a share of its columns drifted, one column drifted strongly
(its values or its share of missing values), or the correlations between columns changed. Together
the three may raise false alarms at most as often as the budget allows. Windows drawn from the
reference (`null_distribution.py`) give each statistic's distribution without drift; each is
expressed as a surprisal (`tails.py`), and all three get the one probability at which the drawn
windows break the rule at the budgeted rate, given how many consecutive windows an alarm takes.

A difference below a practical floor never counts, however significant it is.
"""

from collections.abc import Mapping
from math import ceil

import msgspec
import numpy as np

from monitoring.scoring.drift.null_distribution import DRAWS, NullDistribution
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.score_rules import Array

_LEAST = float(-np.log(0.01))  # bound of a column's chance of drift, for the share rule
_SEEN = 0.02  # a share of the draws that is counted; a smaller one is extrapolated
_COUNTED = 0.004  # smallest probability that is estimated by counting broken windows
_STEPS = 30  # halvings
_SMALLEST = 1e-9


class DriftLimits(msgspec.Struct, frozen=True):
    """Thresholds of drift statistics for one window size, by statistic."""

    drifted: dict[str, float]
    alone: dict[str, float]  # raises an alarm by itself
    joint: float
    met: bool  # whether the budget can be: limits that the user fixed may exceed it


class _DriftRule:
    """One way in which a window can drift: the surprisal of each drawn window, -1 for none."""

    def __init__(self, surprisals: Array, least: float) -> None:
        self._surprises = surprisals
        self._least = least
        self._edge = float(np.quantile(surprisals, 1 - _SEEN))

    def reach(self, chance: float) -> float:
        """Return the surprisal that a share `chance` of windows reaches.

        Below the draws' resolution it is extrapolated: 1 more is rarer by a factor of e.
        """
        if chance < _SEEN:
            surprisal = self._edge + float(np.log(_SEEN / chance))
        else:
            surprisal = float(np.quantile(self._surprises, 1 - chance))
        return max(surprisal, self._least)

    def broken(self, chance: float) -> Array:
        """Return the draws that break the rule."""
        broken: Array = self._surprises >= self.reach(chance)
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
    """Find thresholds that a window without drift breaks with probability `level`.

    `share`: of the shared columns, that makes a window drifted. `windows`: drawn beside each
    reference. `consecutive`: windows that an alarm takes.
    """
    tails = {name: Tail(drawn.values) for name, drawn in columns.items()}
    ways = [
        _DriftRule(_shared(columns, tails, share), _LEAST),
        _DriftRule(_strongest(columns, tails), 0.0),
    ]
    if joint is not None:
        tail = Tail(joint.values)
        ways.append(_DriftRule(tail.surprisal(joint.values), 0.0))
    chance = _common(ways, level, windows, consecutive)
    marked, strong = (way.reach(chance) for way in ways[:2])
    alone = {n: _limit(max(d.strong, d.fixed or 0), tails[n], strong) for n, d in columns.items()}
    drifted = {
        # A column that raises an alarm by itself counts as drifted, too.
        n: min(alone[n], _limit(d.floor, tails[n], marked)) if d.fixed is None else d.fixed
        for n, d in columns.items()
    }
    columns_broken = _stated(columns, share)
    return DriftLimits(
        drifted,
        alone,
        0.0 if joint is None else tail.value(ways[2].reach(chance)),
        columns_broken is None or _chance(columns_broken, windows, consecutive) <= level,
    )


def _limit(floor: float, tail: Tail, surprisal: float) -> float:
    return round(max(floor, tail.value(surprisal)), 6)


def _from(floor: float, values: Array, tail: Tail) -> Array:
    """Return surprises, -1 if the floor is not reached."""
    surprises: Array = np.where(values >= floor, tail.surprisal(values), -1.0)
    return surprises


def _shared(
    columns: Mapping[str, NullDistribution], tails: Mapping[str, Tail], share: float
) -> Array:
    """Return the k-th greatest surprisal of each draw, k columns being the share."""
    parts = [
        _from(drawn.floor if drawn.fixed is None else np.inf, drawn.values, tails[name])
        for name, drawn in columns.items()
        if drawn.shared
    ]
    return _greatest(parts, share)


def _greatest(parts: list[Array], share: float) -> Array:
    if not parts:
        return np.full(DRAWS, -1.0)
    enough = max(1, ceil(share * len(parts) - 1e-9))
    least: Array = np.sort(np.column_stack(parts), axis=1)[:, -enough]
    return least


def _strongest(columns: Mapping[str, NullDistribution], tails: Mapping[str, Tail]) -> Array:
    """Return the greatest surprisal of a column above its own floor, for each draw."""
    parts = [
        _from(max(drawn.strong, drawn.fixed or 0.0), drawn.values, tails[name])
        for name, drawn in columns.items()
    ]
    return np.max(parts, axis=0) if parts else np.full(DRAWS, -1.0)


def _stated(columns: Mapping[str, NullDistribution], share: float) -> Array | None:
    """Return the draws that break the user's own limits; None if there are no such limits."""
    if all(drawn.fixed is None for drawn in columns.values()):
        return None
    parts = [
        (drawn.values >= (np.inf if drawn.fixed is None else drawn.fixed)).astype(float)
        for drawn in columns.values()
        if drawn.shared
    ]
    broken: Array = _greatest(parts, share) > 0
    return broken


def _common(ways: list[_DriftRule], level: float, windows: int, consecutive: int) -> float:
    """Find the common probability at which all rules together use up the budget (bisection)."""

    def together(chance: float) -> float:
        broken = np.any([way.broken(chance) for way in ways], axis=0)
        return _chance(broken, windows, consecutive)

    probability = together(_COUNTED)
    if probability > level:
        return _COUNTED * level / probability
    low, high = _COUNTED, max(level, _COUNTED)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if together(middle) <= level else (low, middle)
    return low


def _chance(broken: Array, windows: int, consecutive: int) -> float:
    """Return the per-window probability that `consecutive` windows in a row break the rule.

    Windows of one reference share its deviation. Pairs of the `windows` beside each drawn one show
    how alike they are; more in a row follow as if each reference's chance had a beta distribution.
    """
    beside = broken.reshape(-1, windows).sum(axis=1).astype(float)
    once = float(np.mean(beside)) / windows
    pairs = float(np.mean(beside * (beside - 1))) / (windows * (windows - 1))
    if not 0 < once < 1:
        return once
    alike = min(max((pairs - once**2) / (once - once**2), 0.0), 1 - _SMALLEST)
    steps = range(consecutive)
    powers = [(once * (1 - alike) + n * alike) / (1 - alike + n * alike) for n in steps]
    return float(np.prod(powers) ** (1 / consecutive))
