"""Values as they are counted, whatever library they come from.

NumPy is not imported: the monitor's results are read by commands that need none.
"""

import math
from typing import Any

MISSING, OUTSIDE = 1, 2  # what can be odd about a value; 0 is nothing


def category(value: Any) -> str:
    """A category as text: 1, 1.0, "1" and True, as they come from different hands, are one."""
    kind = type(value).__name__  # those of NumPy's scalars begin alike
    if kind == "bool":
        return str(int(value))
    if kind.startswith("float") and value.is_integer():
        return str(int(value))
    return str(value)


def number(value: Any) -> float:
    """A finite number, or NaN for everything else: infinities, strings, what no float can hold."""
    try:
        reported = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return reported if math.isfinite(reported) else math.nan
