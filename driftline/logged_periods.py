"""Read a period of event time without reading the whole log.

Files next to complete segments (eventlog/event_times.py) state their event times, so reading begins
at the last days of the log. If the model's latest request is older, the log is read again from an
earlier day.
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
    """A period of UTC days: the last `days` up to the latest request, or `first` to `last`."""

    days: int
    first: int | None = None  # days since the epoch
    last: int | None = None  # days since the epoch

    @classmethod
    def of(cls, gate: ReplayGate) -> "Period":
        """Return the period that a replay gate states."""
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
        """Return the first day of the period if `last` is the latest day with requests."""
        return last - self.days + 1 if self.first is None else self.first


def read_period(
    log: LogPlace,
    period: Period,
    read: Callable[[Iterator[Event]], tuple[Result, int | None]],
) -> Result:
    """Call `read` with events that include all predictions of the period; return its result.

    `read` also returns the latest day of the model's requests, or None without requests. It is
    called again, with more events, if that day shows that the period began earlier.
    """
    first = _likely_first(log, period)
    while True:
        result, latest = read(logged_events(log, predicted_since(log, first * DAY)))
        earlier = _BEGINNING if latest is None else period.first_of(latest)
        if period.first is not None or earlier >= first:
            return result
        first = earlier


def _likely_first(log: LogPlace, period: Period) -> int:
    """Return the period's first day, assuming that the model has requests at the log's end."""
    if period.first is not None:
        return period.first
    latest = latest_time(log) if isinstance(log, Path) else None
    return _BEGINNING if latest is None else period.first_of(latest // DAY)


_BEGINNING = -(10**9)  # a day before every event
