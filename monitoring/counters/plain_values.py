"""Convert values of any library to the plain types that the counters need.

This module does not import NumPy, because commands that only read results start without it.
"""

import math
from typing import Any

from registry.labels import category

__all__ = ["MISSING", "OUTSIDE", "category", "number"]

MISSING, OUTSIDE = 1, 2  # codes of a value; 0 is the code of a value inside the reference


def number(value: Any) -> float:
    """Return a finite float, or NaN if the value is not a number, infinite or too large."""
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return converted if math.isfinite(converted) else math.nan
