"""Everything that decides how the limits of drift follow from the budget lives here.

A window drifts in one of three ways: a share of its columns did, one column did strongly (its
values, or how many are missing), or the columns go together otherwise. Under chance alone the three
together may break the rule as often as the budget allows and no more. That is found with windows
drawn from the reference (`resampling.py`): each way's statistic is turned into a surprise
(`tails.py`), and the three get the one chance at which the drawn windows raise alarms at the rate
that the budget states, through the hysteresis.

A difference below a practical floor never counts, however significant.
"""

from collections.abc import Mapping
from math import ceil

import msgspec
import numpy as np

from monitoring.scoring.drift.null_distribution import DRAWS, REFERENCES, WINDOWS, Drawn
from monitoring.scoring.drift.tails import Tail
from monitoring.scoring.score_rules import Array

_LEAST = float(-np.log(0.01))  # for the share, no column drifts more often than this by chance
_SEEN = 0.02  # a share of the draws that is counted; a smaller one is extrapolated
_STEPS = 30  # halvings


class Limits(msgspec.Struct, frozen=True):
    """From where on statistics of windows of one size count; by the names of `Drawn`."""

    drifted: dict[str, float]
    alone: dict[str, float]  # raises an alarm by itself
    joint: float
    met: bool  # whether the budget can be: limits that the user fixed may exceed it


class _Way:
    """One way in which a window can drift: the surprise of each drawn window, -1 for none."""

    def __init__(self, surprises: Array, least: float) -> None:
        self._surprises = surprises
        self._least = least
        self._edge = float(np.quantile(surprises, 1 - _SEEN))

    def reach(self, chance: float) -> float:
        """From what surprise on lies so small a share of windows.

        Where draws are too few to tell: a surprise of 1 more is rarer by a factor of e.
        """
        if chance < _SEEN:
            found = self._edge + float(np.log(_SEEN / chance))
        else:
            found = float(np.quantile(self._surprises, 1 - chance))
        return max(found, self._least)

    def broken(self, chance: float) -> Array:
        """Which of the draws break it."""
        broken: Array = self._surprises >= self.reach(chance)
        return broken


def calibrate(
    columns: Mapping[str, Drawn],
    joint: Drawn | None,
    *,
    share: float,
    level: float,
    consecutive: int,
) -> Limits:
    """Limits at which a calm window breaks the rule with the chance `level`.

    `share` of the shared columns make a window drifted; an alarm takes `consecutive` windows.
    """
    tails = {name: Tail(drawn.values) for name, drawn in columns.items()}
    ways = [
        _Way(_shared(columns, tails, share), _LEAST),
        _Way(_strongest(columns, tails), 0.0),
    ]
    if joint is not None:
        tail = Tail(joint.values)
        ways.append(_Way(tail.surprise(joint.values), 0.0))
    chance = _common(ways, level, consecutive)
    marked, strong = (way.reach(chance) for way in ways[:2])
    alone = {n: _limit(max(d.strong, d.fixed or 0), tails[n], strong) for n, d in columns.items()}
    drifted = {
        # What raises an alarm by itself has drifted, and no alarm comes of calling it so.
        n: min(alone[n], _limit(d.floor, tails[n], marked)) if d.fixed is None else d.fixed
        for n, d in columns.items()
    }
    stated = _stated(columns, share)
    return Limits(
        drifted,
        alone,
        0.0 if joint is None else tail.value(ways[2].reach(chance)),
        stated is None or _chance(stated, consecutive) <= level,
    )


def _limit(floor: float, tail: Tail, surprise: float) -> float:
    return round(max(floor, tail.value(surprise)), 6)


def _from(floor: float, values: Array, tail: Tail) -> Array:
    """Surprises, -1 where the floor is not reached."""
    found: Array = np.where(values >= floor, tail.surprise(values), -1.0)
    return found


def _shared(columns: Mapping[str, Drawn], tails: Mapping[str, Tail], share: float) -> Array:
    """Of as many columns as make the share: the least surprise of the greatest so many."""
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


def _strongest(columns: Mapping[str, Drawn], tails: Mapping[str, Tail]) -> Array:
    """The greatest surprise of any column that moved far enough to matter by itself."""
    parts = [
        _from(max(drawn.strong, drawn.fixed or 0.0), drawn.values, tails[name])
        for name, drawn in columns.items()
    ]
    return np.max(parts, axis=0) if parts else np.full(DRAWS, -1.0)


def _stated(columns: Mapping[str, Drawn], share: float) -> Array | None:
    """Which draws break the rule by the user's own limits alone; None where there are none."""
    if all(drawn.fixed is None for drawn in columns.values()):
        return None
    parts = [
        (drawn.values >= (np.inf if drawn.fixed is None else drawn.fixed)).astype(float)
        for drawn in columns.values()
        if drawn.shared
    ]
    broken: Array = _greatest(parts, share) > 0
    return broken


def _common(ways: list[_Way], level: float, consecutive: int) -> float:
    """The chance of each way at which all together break the rule as often as they may."""

    def together(chance: float) -> float:
        broken = np.any([way.broken(chance) for way in ways], axis=0)
        return _chance(broken, consecutive)

    seen = together(_SEEN)
    if seen > level:
        return _SEEN * level / seen
    low, high = _SEEN, max(level, _SEEN)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if together(middle) <= level else (low, middle)
    return low


def _chance(broken: Array, consecutive: int) -> float:
    """How probable a window breaks the rule, as far as it matters to so many windows in a row.

    Windows beside one reference have that reference's chance in common: its power is averaged.
    """
    times = min(consecutive, WINDOWS // 2)
    beside = broken.reshape(REFERENCES, WINDOWS).sum(axis=1).astype(float)
    power = np.ones(REFERENCES)
    for place in range(times):
        power *= np.maximum(beside - place, 0) / (WINDOWS - place)
    return float(np.mean(power) ** (1 / times))
