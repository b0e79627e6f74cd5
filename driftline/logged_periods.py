"""Find the position at which a period of event time begins, to avoid reading the whole log.

The files beside complete segments (eventlog/event_times.py) lead to the days of the latest event.
If the latest request of the model is older, the log is read again, from its days on.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple, TypeVar

from driftline.logged_events import LogPlace, logged_events, predicted_since
from eventlog.event_times import latest_time
from eventlog.events import Event
from registry.gates.specification import ReplayGate
from telemetry.clock import DAY

Result = TypeVar("Result")


class Period(NamedTuple):
    """Days since the epoch, in UTC: the latest `days` with requests, or from first to last."""

    days: int
    first: int | None = None
    last: int | None = None

    @classmethod
    def of(cls, gate: ReplayGate) -> "Period":
        """Return the period of a gate."""
        if not gate.first_day:
            return cls(gate.days)
        epoch = date(1970, 1, 1)
        ends = (date.fromisoformat(gate.first_day), date.fromisoformat(gate.last_day))
        return cls(gate.days, *((end - epoch).days for end in ends))

    def outside(self, days: Iterable[int]) -> list[int]:
        """Return the days that are not in the period."""
        days = list(days)
        last = max(days) if self.last is None else self.last
        first = self.first_of(last)
        return [day for day in days if not first <= day <= last]

    def first_of(self, last: int) -> int:
        """Return the first day, if `last` is the last one with requests."""
        return last - self.days + 1 if self.first is None else self.first


def read_period(
    log: LogPlace,
    period: Period,
    read: Callable[[Iterator[Event]], tuple[Result, int | None]],
) -> Result:
    """Return what `read` returns for events that include all predictions of the period.

    `read` also returns the latest day of the requests that it looks for, None without any. It may
    be called again.
    """
    first = _likely_first(log, period)
    while True:
        result, latest = read(logged_events(log, predicted_since(log, first * DAY)))
        earlier = _BEGINNING if latest is None else period.first_of(latest)
        if period.first is not None or earlier >= first:
            return result
        first = earlier


def _likely_first(log: LogPlace, period: Period) -> int:
    """Return the first day, if the model has requests at the end of the log."""
    if period.first is not None:
        return period.first
    latest = latest_time(log) if isinstance(log, Path) else None
    return _BEGINNING if latest is None else period.first_of(latest // DAY)


_BEGINNING = -(10**9)  # a day before every event
