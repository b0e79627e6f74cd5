"""Track how many windows wait for their scores, and for how long."""

import time
from collections.abc import Callable, Iterable

BEHIND = 1_800.0  # seconds after which a waiting window is reported; some time-outs of a job


class ScoringLag:
    """The windows that wait since this process started. One thread writes; any thread may read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds from an arbitrary start."""
        self._clock = clock
        self._since: dict[int, float] = {}  # job number -> when it was queued, oldest first

    def queued(self, numbers: Iterable[int]) -> None:
        """Note queued jobs."""
        now = self._clock()
        self._since |= dict.fromkeys(numbers, now)

    def finished(self, number: int) -> None:
        """Record that a job was evaluated."""
        self._since.pop(number, None)

    def restart(self) -> None:
        """Forget all jobs: the queue is read again."""
        self._since = {}

    @property
    def waiting(self) -> int:
        """Windows that wait for their scores."""
        return len(self._since)

    @property
    def age(self) -> float:
        """Seconds since the oldest waiting window was queued; 0 with none."""
        since = next(iter(self._since.copy().values()), None)
        return 0.0 if since is None else max(0.0, self._clock() - since)
