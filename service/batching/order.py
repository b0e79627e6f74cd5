"""The order in which queued jobs run. Pure.

If there is one priority level, the order is first in, first out. If there are several levels, a job
of level p (0 is the highest) runs as if it had arrived p steps later. A job can overtake only jobs
that arrived at most (levels - 1) steps earlier, so no job starves.
"""

from collections import deque
from collections.abc import Iterator
from heapq import merge
from typing import Generic, Protocol, TypeVar


class QueuedJob(Protocol):
    """The attributes of a job that determine its position."""

    queued: float  # time of arrival
    level: int  # priority level; 0 is the highest


Job = TypeVar("Job", bound=QueuedJob)


class FifoQueue(deque[Job]):
    """A queue with one priority level; jobs must be appended in the order of arrival."""

    @property
    def oldest(self) -> float:
        """Arrival of the oldest queued job."""
        return self[0].queued


class AgingQueue(Generic[Job]):
    """A queue with several priority levels; it has the interface of `FifoQueue`."""

    def __init__(self, levels: int, step: float) -> None:
        """`step` is the delay of a job per level, in the unit of `queued`."""
        self._levels: list[deque[Job]] = [deque() for _ in range(levels)]
        self._step = step

    def append(self, job: Job) -> None:
        """Add a job that arrives now."""
        self._levels[job.level].append(job)

    def remove(self, job: Job) -> None:
        """Remove a job; raises ValueError if it is not queued."""
        self._levels[job.level].remove(job)

    def popleft(self) -> Job:
        """Remove and return the first job; raises ValueError if none is queued."""
        return min((level for level in self._levels if level), key=self._first).popleft()

    def __iter__(self) -> Iterator[Job]:
        """Iterate over all jobs in order."""
        return merge(*self._levels, key=self._rank)

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    @property
    def oldest(self) -> float:
        """Arrival of the oldest queued job."""
        return min(level[0].queued for level in self._levels if level)

    def _rank(self, job: Job) -> float:
        return job.queued + job.level * self._step

    def _first(self, level: deque[Job]) -> float:
        return self._rank(level[0])
