"""Widen thresholds where the reference's own windows differ by a season or a trend.

Drawn windows mix the times of a reference, so their thresholds know nothing of weekdays or hours.
Windows of the past are known where the reference has event times (`like_times.py`). Where it has
none, its rows are in the order of time, and as many neighbouring rows as a window has are one.
Where more of these break the drift rule than chance allows, the thresholds are raised
above all of them, so that the season by itself raises no alarm.
"""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace
from scipy.stats import binom

from monitoring.scoring.drift.calibration import DriftLimits
from monitoring.scoring.score_rules import Array

LEAST_WINDOWS = 7  # minimum windows in a reference that can show a season
_MOST_WINDOWS = 56  # maximum windows that are examined
_SURE = 0.99
_MARGIN = 0.5  # share of a threshold added to the greatest past value: the next window varies, too


def neighbouring_rows(reference: int, window: int) -> list[Array]:
    """Return the rows of a reference's own windows; none if it has too few."""
    count = reference // window
    if count < LEAST_WINDOWS:
        return []
    starts = np.linspace(0, reference - window, min(count, _MOST_WINDOWS)).astype(int)
    return [np.arange(start, start + window) for start in starts]


def has_seasons(broken: Array, level: float) -> bool:
    """Return whether more of the past windows broke a rule than chance explains."""
    return len(broken) > 0 and int(broken.sum()) > binom.ppf(_SURE, len(broken), level)


def broken_windows(
    limits: DriftLimits, past: Mapping[str, Array], shared: Mapping[str, bool], share: float
) -> Array:
    """Return which past windows break the rule by a column or by the share of columns."""
    if not past:
        return np.zeros(0, dtype=bool)
    alone = [values >= limits.alone[name] for name, values in past.items()]
    counted = [values >= limits.drifted[name] for name, values in past.items() if shared[name]]
    broken: Array = np.any(alone, axis=0)
    return broken | (np.mean(counted, axis=0) >= share) if counted else broken


def widened(limits: DriftLimits, past: Mapping[str, Array]) -> DriftLimits:
    """Return limits above the values of all past windows."""
    return replace(
        limits,
        drifted=_raised(limits.drifted, past),
        alone=_raised(limits.alone, past),
    )


def raised(limits: Array, greatest: Array) -> Array:
    """Return limits, those that the past reached raised above its greatest values."""
    above: Array = np.where(greatest >= limits, greatest + _MARGIN * limits, limits)
    return above


def _raised(limits: Mapping[str, float], past: Mapping[str, Array]) -> dict[str, float]:
    widened_limits = dict(limits)
    for name, values in past.items():
        above = raised(np.array([limits[name]]), np.array([values.max()]))
        widened_limits[name] = round(float(above[0]), 6)
    return widened_limits
