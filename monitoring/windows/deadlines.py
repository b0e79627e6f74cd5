"""Find the keys that are due, without checking every key. Pure."""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Deadlines by key; a new deadline replaces the key's earlier deadline."""

    def __init__(self) -> None:
        """Start without keys."""
        self._heap: list[tuple[int, int, K]] = []  # (time, number, key), with replaced deadlines
        self._current: dict[K, tuple[int, int]] = {}  # key: (time, number) of its deadline
        self._number = 0  # makes heap entries unique, so that keys are never compared

    def set(self, key: K, time: int) -> None:
        """Set or replace the deadline of a key."""
        current = self._current.get(key)
        if current is not None and current[0] == time:
            return
        self._number += 1
        self._current[key] = time, self._number
        heappush(self._heap, (time, self._number, key))
        if len(self._heap) > 4 * len(self._current) + 64:
            self._drop_replaced()

    def pop_due(self, time: int) -> list[K]:
        """Return the keys whose deadline is `time` or earlier, and remove their deadlines."""
        due = []
        heap = self._heap
        while heap and heap[0][0] <= time:
            deadline, number, key = heappop(heap)
            if self._current.get(key) == (deadline, number):
                del self._current[key]
                due.append(key)
        return due

    def __len__(self) -> int:
        """Return the number of stored deadlines, including replaced deadlines."""
        return len(self._heap)

    def _drop_replaced(self) -> None:
        # A sorted list is a heap.
        self._heap = sorted((*place, key) for key, place in self._current.items())
