"""Count the requests of each model by the hour of event time, over all its versions. Pure.

An hour is open until the model's watermark has passed its end by the grace. Then it is judged
(alarms/traffic.py), and its further requests are not counted.
"""

from collections.abc import Mapping

import msgspec

from monitoring.alarms.traffic import DAY, WEEK, WEEKS, JudgedHour, TrafficHistory
from telemetry.clock import HOUR

RETAINED = WEEKS * WEEK + 3 * DAY  # hours that the calibration of a day needs
_MOST_OPEN = RETAINED + 2 * DAY  # hours


class OpenHours(msgspec.Struct):
    """Request counts of the hours that are not judged yet."""

    first: int = 0  # first hour to judge; the first request's hour is incomplete, so it is skipped
    requests: dict[int, dict[str, int]] = {}  # hour: {version: requests}

    def count(self, time: int, version: str) -> bool:
        """Count a request; return False if its hour is already judged or skipped."""
        hour = time // HOUR
        if not self.first:
            self.first = hour + 1
            return True
        if hour < self.first:
            return False
        versions = self.requests.get(hour)
        if versions is None:
            versions = self.requests[hour] = {}
            if len(self.requests) > _MOST_OPEN:  # a backfill, of which only the last weeks count
                self.skip_to(min(self.requests) + 1)
        versions[version] = versions.get(version, 0) + 1
        return True

    def skip_to(self, hour: int) -> None:
        """Skip the hours before `hour`, which are then never judged."""
        self.first = max(self.first, hour)
        for skipped in [hour for hour in self.requests if hour < self.first]:
            del self.requests[skipped]


class JudgedHours(msgspec.Struct):
    """The judged hours of a model, without gaps, up to `until`."""

    until: int = 0  # the hour after the last judged hour
    requests: list[int] = []  # requests of each hour
    broken: list[int] = []  # hours that broke the rule
    version: str = ""  # version to which the model's traffic alarms belong
    newest: JudgedHour | None = None

    def history(self, hour: int, requests: int) -> TrafficHistory:
        """Return the history for judging the next hour, which has `requests` requests."""
        first = self.until - len(self.requests)
        requests_by_hour = {first + at: count for at, count in enumerate(self.requests) if count}
        requests_by_hour[hour] = requests
        return TrafficHistory(
            first if self.requests else hour, requests_by_hour, frozenset(self.broken)
        )

    def add(self, hour: int, requests: int, judged: JudgedHour) -> None:
        """Append a judged hour; after a gap, the history starts with this hour."""
        if hour != self.until:
            self.requests, self.broken = [], []
        self.requests = [*self.requests, requests][-RETAINED:]
        self.until = hour + 1
        oldest = self.until - len(self.requests)
        if judged.broken:
            self.broken = [*self.broken, hour]
        self.broken = [hour for hour in self.broken if hour >= oldest]
        self.newest = judged

    @property
    def ended(self) -> bool:
        """Whether the model had no request in all retained hours."""
        return len(self.requests) == RETAINED and not any(self.requests)


class NewestHour(msgspec.Struct, frozen=True):
    """The part of `JudgedHours` that metrics need; decoding it skips the history."""

    newest: JudgedHour | None = None


def alarm_version(requests: Mapping[str, int], before: str) -> str:
    """Return the version to which the traffic alarm of an hour belongs.

    This is the version `before` while it answers requests, or if no version does. Otherwise it is
    the version that answers most requests of the hour.
    """
    if before in requests or not requests:
        return before
    return min(requests, key=lambda version: (-requests[version], version))
