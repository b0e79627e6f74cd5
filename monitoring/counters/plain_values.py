"""Convert values of any library to the plain types that are counted.

NumPy is not imported: the monitor's results are read by commands that need none.
"""

import math
from typing import Any

from registry.labels import category

__all__ = ["MISSING", "OUTSIDE", "category", "number"]

MISSING, OUTSIDE = 1, 2  # what can be odd about a value; 0 is nothing


def number(value: Any) -> float:
    """Return a finite number, or NaN for all else: infinities, strings, what no float holds."""
    try:
        reported = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return reported if math.isfinite(reported) else math.nan
