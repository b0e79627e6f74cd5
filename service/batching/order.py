"""Everything that decides in which order waiting jobs run lives here.

With one level of priority: first come, first served. With several, a job of level p (1 is the
highest) is served as if it had come (p - 1) steps later than it did. So a higher level goes first,
but only past jobs that came at most (levels - 1) steps before it: nobody waits for ever.
"""

from collections import deque
from collections.abc import Iterator
from heapq import merge
from typing import Generic, Protocol, TypeVar


class QueuedJob(Protocol):
    """What of a job its place depends on."""

    queued: float  # when it came
    level: int  # of priority; 0 is the highest


Job = TypeVar("Job", bound=QueuedJob)


class FifoQueue(deque[Job]):
    """One level; jobs are appended in the order they came."""

    @property
    def oldest(self) -> float:
        """When the first of those came that wait."""
        return self[0].queued


class AgingQueue(Generic[Job]):
    """Several levels; what `FifoQueue` offers, in the order of the module's rule."""

    def __init__(self, levels: int, step: float) -> None:
        """`step` is what a level is worth, in the unit of `queued`."""
        self._levels: list[deque[Job]] = [deque() for _ in range(levels)]
        self._step = step

    def append(self, job: Job) -> None:
        """Take in a job that comes now."""
        self._levels[job.level].append(job)

    def remove(self, job: Job) -> None:
        """Take out a job; raises ValueError where it does not wait."""
        self._levels[job.level].remove(job)

    def popleft(self) -> Job:
        """Take out the first; raises ValueError where none waits."""
        return min((level for level in self._levels if level), key=self._first).popleft()

    def __iter__(self) -> Iterator[Job]:
        """All of them, in order."""
        return merge(*self._levels, key=self._rank)

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    @property
    def oldest(self) -> float:
        """When the first of those came that wait."""
        return min(level[0].queued for level in self._levels if level)

    def _rank(self, job: Job) -> float:
        return job.queued + job.level * self._step

    def _first(self, level: deque[Job]) -> float:
        return self._rank(level[0])
