"""Send logged requests at the times at which they arrived, faster or slower."""

import time
from collections.abc import Callable, Sequence

from eventlog.errors import SettingError
from loadtests.logged_requests import LoggedRequest, LoggedRequests

_LEAD = 0.5  # seconds in which the clients connect
_LATE = 0.01  # seconds


class Replay:
    """Hand out logged requests with the time at which each is due."""

    def __init__(
        self,
        logged: LoggedRequests,
        speed: float,
        seconds: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`speed` divides the time between requests; `seconds` limits the duration."""
        if not speed > 0:
            raise SettingError(f"--speed {speed:g}: expected a number above 0")
        if seconds is not None and not seconds > 0:
            raise SettingError(f"--run-time {seconds:g}: expected a number of seconds above 0")
        requests = logged.requests
        first = requests[0].received
        offsets = [(request.received - first) / 1e6 / speed for request in requests]
        count = sum(seconds is None or offset < seconds for offset in offsets)
        self._requests: Sequence[LoggedRequest] = requests[:count]
        self._offsets = offsets[:count]
        self._summary = f"{logged.note}; {count:,} due in {self._offsets[-1]:,.0f} s"
        self._summary += f" at speed {speed:g}"
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Start with the first request."""
        self._started = self._clock() + _LEAD
        self._taken = self._completed = self._late = 0

    def take(self) -> tuple[LoggedRequest, float] | None:
        """Return the next request and when it is due, by the clock; None after the last."""
        if self._taken == len(self._requests):
            return None
        due = self._started + self._offsets[self._taken]
        request = self._requests[self._taken]
        self._taken += 1
        self._late += self._clock() > due + _LATE
        return request, due

    def complete(self) -> None:
        """Count a request whose reply arrived, or that failed."""
        self._completed += 1

    @property
    def finished(self) -> bool:
        """Return whether every request was sent and its reply arrived."""
        return self._completed == len(self._requests)

    @property
    def note(self) -> str:
        """Return what was replayed, and whether there were too few clients for it."""
        if not self._late:
            return self._summary
        return (
            f"{self._summary}; {self._late:,} waited for a free client, which their latency "
            "includes: use more --users"
        )
