"""Count the requests of each model by the hour of event time, over all its versions. Pure.

An hour is open until the model's watermark has passed its end by the grace. Then it is judged
(alarms/traffic.py), and requests for it are counted no more.
"""

from collections.abc import Mapping

import msgspec

from monitoring.alarms.traffic import DAY, WEEK, WEEKS, JudgedHour, TrafficHistory
from telemetry.clock import HOUR

RETAINED = WEEKS * WEEK + 3 * DAY  # hours: what a day is calibrated by, and 24 hours before that
_MOST_OPEN = RETAINED + 2 * DAY


class OpenHours(msgspec.Struct):
    """Requests of the hours that are not judged yet, by hour and version."""

    first: int = 0  # the first hour that is judged: the first request's may be a part of one
    requests: dict[int, dict[str, int]] = {}

    def count(self, time: int, version: str) -> bool:
        """Count a request; False if its hour is judged already, or too old to be."""
        hour = time // HOUR
        if not self.first:
            self.first = hour + 1
            return True
        if hour < self.first:
            return False
        versions = self.requests.get(hour)
        if versions is None:
            versions = self.requests[hour] = {}
            if len(self.requests) > _MOST_OPEN:  # a backfill: its last weeks count
                self.skip_to(min(self.requests) + 1)
        versions[version] = versions.get(version, 0) + 1
        return True

    def skip_to(self, hour: int) -> None:
        """Judge no hour before this one."""
        self.first = max(self.first, hour)
        for old in [hour for hour in self.requests if hour < self.first]:
            del self.requests[old]


class JudgedHours(msgspec.Struct):
    """The evaluated hours of a model, without gaps, up to `until`."""

    until: int = 0  # the hour after the last
    requests: list[int] = []
    broken: list[int] = []  # hours
    version: str = ""  # version that answers most requests, and bears the alarms
    newest: JudgedHour | None = None

    def history(self, hour: int, requests: int) -> TrafficHistory:
        """Return the data for judging the next hour."""
        first = self.until - len(self.requests)
        requests_by_hour = {first + at: count for at, count in enumerate(self.requests) if count}
        requests_by_hour[hour] = requests
        return TrafficHistory(
            first if self.requests else hour, requests_by_hour, frozenset(self.broken)
        )

    def add(self, hour: int, requests: int, judged: JudgedHour) -> None:
        """Append an hour; the history begins with it if it does not follow the last."""
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
        """Whether the model had no request in all that time."""
        return len(self.requests) == RETAINED and not any(self.requests)


class NewestHour(msgspec.Struct, frozen=True):
    """The part of `JudgedHours` that metrics read: it spares the history."""

    newest: JudgedHour | None = None


def bearer(requests: Mapping[str, int], before: str) -> str:
    """Return the version that bears the alarms of an hour: it answers most of the requests.

    It stays the same while it answers any, and while none does.
    """
    if before in requests or not requests:
        return before
    return min(requests, key=lambda version: (-requests[version], version))
