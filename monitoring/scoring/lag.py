"""Number and age of the windows that wait for their scores."""

import time
from collections.abc import Callable, Iterable

BEHIND = 1_800.0  # seconds after which a waiting window is reported; a multiple of a job's time-out


class ScoringLag:
    """The windows that wait for their scores; one thread writes, any thread can read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since an arbitrary start."""
        self._clock = clock
        self._since: dict[int, float] = {}  # job number -> time at which it was queued

    def queued(self, numbers: Iterable[int]) -> None:
        """Record that jobs were queued."""
        now = self._clock()
        self._since |= dict.fromkeys(numbers, now)

    def finished(self, number: int) -> None:
        """Record that a job is finished."""
        self._since.pop(number, None)

    def restart(self) -> None:
        """Remove all jobs, because the queue is read again."""
        self._since = {}

    @property
    def waiting(self) -> int:
        """The number of windows that wait for their scores."""
        return len(self._since)

    @property
    def age(self) -> float:
        """The seconds since the oldest waiting window was queued; 0 if no window waits."""
        since = next(iter(self._since.copy().values()), None)
        return 0.0 if since is None else max(0.0, self._clock() - since)
