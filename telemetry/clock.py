"""Wall-clock time and durations, in the units that Driftline stores and reads."""

import re
import time

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR

_DURATION = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def now_us() -> int:
    """Return microseconds since the Unix epoch (UTC)."""
    return time.time_ns() // 1_000


def parse_duration(text: str) -> int:
    """Return the seconds of a duration of one number and one unit: 30m, 8h, 3d, 2w.

    Raises ValueError if the text is something else, or if the duration is 0.
    """
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not seconds:
        raise ValueError("expected a number and a unit as in 30m, 8h, 3d, 2w")
    return seconds
