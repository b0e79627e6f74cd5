"""Read which part of the log is replayed: --from, --to and --last."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from eventlog.errors import SettingError

DEFAULT = "1h"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}  # seconds
_SECOND = 1_000_000  # microseconds
_LONGEST = 366 * 86_400  # seconds of a period


class LoggedPeriod(NamedTuple):
    """Requests received in [start, end); microseconds since the epoch."""

    start: int
    end: int

    def __str__(self) -> str:
        """Return the period in UTC, for people."""
        first, last = (
            datetime.fromtimestamp(moment / _SECOND, UTC) for moment in (self.start, self.end)
        )
        return f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"


def read_period(start: str, end: str, last: str, now: int) -> LoggedPeriod:
    """Return the stated period; raises SettingError.

    It ends at `end`, by default `now`. It begins at `start`, or the length `last` before its end.
    """
    if start and last:
        raise SettingError("--from, --last: expected one of them, not both")
    final = _moment("--to", end) if end else now
    first = _moment("--from", start) if start else final - _length(last or DEFAULT)
    if first >= final:
        raise SettingError(f"--from {start}: expected a time before --to, {end or 'now'}")
    return LoggedPeriod(first, final)


def _moment(option: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(
            f"{option} {text!r}: expected a time in UTC, such as 2026-01-31T12:00"
        ) from None
    if not 1970 < moment.year < 2100:
        raise SettingError(f"{option} {text!r}: expected a year from 1971 to 2099")
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * _SECOND)


def _length(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise SettingError(
            f"--last {text!r}: expected a length such as 90s, 30m, 1h or 7d, at most 366d"
        )
    return round(seconds * _SECOND)
