"""Widen thresholds if a season or a trend makes the reference's own windows differ.

Drawn windows mix the times of a reference, so their thresholds do not account for weekdays or
hours. If the reference has event times, its past windows are known (`like_times.py`). Otherwise its
rows are assumed to be in order of time, and each run of neighbouring rows with a window's length is
a past window. If more past windows break the drift rule than chance explains, the thresholds are
raised above the values of all past windows. A season alone then raises no alarm.
"""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace
from scipy.stats import binom

from monitoring.scoring.drift.calibration import DriftLimits
from monitoring.scoring.score_rules import Array

LEAST_WINDOWS = 7  # minimum past windows in a reference that are checked for a season
_MOST_WINDOWS = 56  # maximum past windows that are checked
_SURE = 0.99  # confidence of the test whether chance explains the broken windows
_MARGIN = 0.5  # share of the threshold that is added to the greatest past value


def neighbouring_rows(reference: int, window: int) -> list[Array]:
    """Return the rows of a reference's past windows; empty if there are too few windows."""
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
    """Return for each past window whether it breaks the rule by a column or the drifted share."""
    if not past:
        return np.zeros(0, dtype=bool)
    alone = [values >= limits.alone[name] for name, values in past.items()]
    counted = [values >= limits.drifted[name] for name, values in past.items() if shared[name]]
    broken: Array = np.any(alone, axis=0)
    return broken | (np.mean(counted, axis=0) >= share) if counted else broken


def widened(limits: DriftLimits, past: Mapping[str, Array]) -> DriftLimits:
    """Return the limits, raised above the values of all past windows."""
    return replace(
        limits,
        drifted=_raised(limits.drifted, past),
        alone=_raised(limits.alone, past),
    )


def raised(limits: Array, greatest: Array) -> Array:
    """Return the limits; a limit that `greatest` reaches is raised above it."""
    above: Array = np.where(greatest >= limits, greatest + _MARGIN * limits, limits)
    return above


def _raised(limits: Mapping[str, float], past: Mapping[str, Array]) -> dict[str, float]:
    widened_limits = dict(limits)
    for name, values in past.items():
        above = raised(np.array([limits[name]]), np.array([values.max()]))
        widened_limits[name] = round(float(above[0]), 6)
    return widened_limits
