"""Convert hours since the Unix epoch to the callers' local time. Pure.

Traffic follows the local time of the people who cause it. After a daylight-saving change, the same
local hour of the previous week was 167 or 169 hours ago.
"""

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_HOUR_S = 3_600
_DAY = 24  # hours


class LocalHours:
    """Hours in a time zone of the IANA database; offsets are rounded down to full hours."""

    def __init__(self, timezone: str) -> None:
        """Set the time zone; UTC is used if this machine does not know its name."""
        self._timezone = timezone

    def local(self, hour: int) -> int:
        """Return the local number of an hour since the Unix epoch."""
        return hour + self._offset(hour)

    def earlier(self, hour: int, hours: int) -> int | None:
        """Return the hour whose local time is `hours` earlier; None if local clocks skipped it."""
        local = self.local(hour) - hours
        near = local - self._offset(hour - hours)
        for candidate in (near, local - self._offset(near)):
            if self.local(candidate) == local:
                return candidate
        return None

    def ends_whole_day(self, hour: int) -> bool:
        """Return whether the UTC offset stayed the same in the 24 hours that end with this hour."""
        return self._offset(hour) == self._offset(hour - _DAY)

    def _offset(self, hour: int) -> int:
        return 0 if self._timezone == "UTC" else _offset(self._timezone, hour)


@lru_cache(maxsize=16_384)  # all models ask for the same hours
def _offset(timezone: str, hour: int) -> int:
    try:
        local = datetime.fromtimestamp(hour * _HOUR_S, _zone(timezone))
    except (ValueError, OverflowError, OSError, KeyError):
        return 0  # the year is out of range, or the zone is unknown
    offset = local.utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) // _HOUR_S


@lru_cache(maxsize=64)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)
