"""The schedule of a replay: logged requests at their original intervals, or faster or slower."""

import time
from collections.abc import Callable, Sequence

from eventlog.errors import SettingError
from loadtests.logged_requests import LoggedRequest, LoggedRequests

_LEAD = 0.5  # seconds before the first request, in which the clients connect
_LATE = 0.01  # seconds after which a request counts as late


class Replay:
    """Logged requests, and the time at which each of them is due."""

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
        """Restart with the first request."""
        self._started = self._clock() + _LEAD
        self._taken = self._completed = self._late = 0

    def take(self) -> tuple[LoggedRequest, float] | None:
        """Return the next request and its due time by the clock; None after the last request."""
        if self._taken == len(self._requests):
            return None
        due = self._started + self._offsets[self._taken]
        request = self._requests[self._taken]
        self._taken += 1
        self._late += self._clock() > due + _LATE
        return request, due

    def complete(self) -> None:
        """Count a request that was answered or has failed."""
        self._completed += 1

    @property
    def finished(self) -> bool:
        """Return whether every request was answered or has failed."""
        return self._completed == len(self._requests)

    @property
    def note(self) -> str:
        """Return a summary of the replay, with a warning if there were too few clients."""
        if not self._late:
            return self._summary
        return (
            f"{self._summary}; {self._late:,} had to wait for a free client, and their latency "
            "includes this wait: use more --users"
        )
