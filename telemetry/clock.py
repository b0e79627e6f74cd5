"""Wall-clock time in microseconds, and durations such as 30m in seconds."""

import re
import time

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR

YEAR_S = 366 * 86_400  # seconds of the longest year

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}  # seconds


def now_us() -> int:
    """Return the wall-clock time in microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def parse_duration(text: str, *, longest: int | None = None) -> int:
    """Return a duration in seconds, written as a number and a unit: 90s, 30m, 1.5h, 3d, 2w.

    Raises ValueError if the text is malformed, or if the duration is below one second or above
    `longest` seconds.
    """
    match = _DURATION.fullmatch(text)
    seconds = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if not seconds:
        raise ValueError("expected a number and a unit as in 30m, 8h, 3d, 2w")
    if longest is not None and seconds > longest:
        raise ValueError(f"expected at most {longest // _UNITS['d']}d")
    return seconds
