"""Relate hours of the Unix epoch to the local time of callers. Pure.

Traffic follows the clocks of the people who cause it. Where these change twice a year, the same
local hour of the week before lies 167 or 169 hours back.
"""

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

_HOUR_S = 3_600
_DAY = 24  # hours


class LocalHours:
    """Hours in a time zone of the IANA database; offsets of half an hour are rounded down."""

    def __init__(self, timezone: str) -> None:
        """Count hours in this zone; in UTC if this machine lacks its name."""
        self._timezone = timezone

    def local(self, hour: int) -> int:
        """Return an hour as counted by local clocks."""
        return hour + self._offset(hour)

    def earlier(self, hour: int, hours: int) -> int | None:
        """Return the hour of the local time so many hours before; None: the clocks skipped it."""
        local = self.local(hour) - hours
        near = local - self._offset(hour - hours)
        for candidate in (near, local - self._offset(near)):
            if self.local(candidate) == local:
                return candidate
        return None

    def ends_whole_day(self, hour: int) -> bool:
        """Return whether no clock changed in the 24 hours that end with this one."""
        return self._offset(hour) == self._offset(hour - _DAY)

    def _offset(self, hour: int) -> int:
        return 0 if self._timezone == "UTC" else _offset(self._timezone, hour)


@lru_cache(maxsize=16_384)  # the hours of all models are the same ones
def _offset(timezone: str, hour: int) -> int:
    try:
        local = datetime.fromtimestamp(hour * _HOUR_S, _zone(timezone))
    except (ValueError, OverflowError, OSError, KeyError):
        return 0  # beyond the calendar, or no zone
    offset = local.utcoffset()
    return 0 if offset is None else int(offset.total_seconds()) // _HOUR_S


@lru_cache(maxsize=64)
def _zone(timezone: str) -> ZoneInfo:
    return ZoneInfo(timezone)
