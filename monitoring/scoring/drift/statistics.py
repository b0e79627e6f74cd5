"""The two default drift statistics, fast enough to be computed hundreds of times.

They agree with Evidently's methods of the same names on the same rows (a test compares them); they
are used to calibrate thresholds, Evidently's own to score windows.
"""

from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon as _distance
from scipy.stats import wasserstein_distance

Array = np.ndarray[Any, Any]

SMALLEST_SPREAD = 0.001  # below it Evidently divides by this instead


def wasserstein(reference: Array, current: Array) -> float:
    """Earth mover's distance of two samples of numbers, in standard deviations of the first."""
    spread = max(float(np.std(reference)), SMALLEST_SPREAD)
    return float(wasserstein_distance(reference, current)) / spread


def jensenshannon(reference: Array, current: Array) -> float:
    """Distance of two samples of category codes (integers from 0): 0 same, 0.83 disjoint."""
    size = int(max(reference.max(), current.max())) + 1
    shares = [np.bincount(part, minlength=size) / len(part) for part in (reference, current)]
    return float(_distance(*shares))
