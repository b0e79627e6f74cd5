"""Decide when a batch starts and which requests it contains. Pure."""

from collections.abc import Iterable
from math import inf

import msgspec


class BatchPolicy(msgspec.Struct, frozen=True):
    """The maximum size of a batch, the maximum wait until it is full, and the priority levels."""

    max_rows: int  # 1 means that requests run one by one
    max_delay: float = 0.0  # seconds that a batch waits for more requests
    levels: int = 1  # number of priority levels; see order.py
    default_level: int = 1  # level of a missing or unknown priority; 1 is the highest
    step: float = 1.0  # delay of a request per level, in seconds
    max_bytes: float = inf  # maximum bytes of the merged inputs

    def full(self, rows: int, size: int) -> bool:
        """Return whether a batch of `rows` rows and `size` bytes is full."""
        return rows >= self.max_rows or size >= self.max_bytes

    def level(self, priority: int) -> int:
        """Return the level of a stated priority; 0 is the highest level."""
        return (priority if 0 < priority <= self.levels else self.default_level) - 1


class Take(msgspec.Struct, frozen=True):
    """Run the first `count` requests now."""

    count: int


class WaitUntil(msgspec.Struct, frozen=True):
    """Decide again at this time, or when another request arrives."""

    time: float


def decide(
    waiting: Iterable[tuple[int, int]],
    oldest: float,
    now: float,
    limits: BatchPolicy,
    deadline: float = inf,
) -> Take | WaitUntil:
    """Decide whether an idle runner starts the next batch of the queued requests.

    `waiting` yields the rows and bytes of each queued request in order; only as many items are read
    as needed. `oldest` is the arrival of the oldest request. If `deadline`, the earliest deadline,
    is before the end of the wait, the batch starts at once. A request larger than a batch runs
    alone.
    """
    rows = size = count = 0
    full = False
    for more_rows, more_bytes in waiting:
        full = count > 0 and (
            rows + more_rows > limits.max_rows or size + more_bytes > limits.max_bytes
        )
        if full:
            break
        rows += more_rows
        size += more_bytes
        count += 1
    end = oldest + limits.max_delay
    if full or limits.full(rows, size) or now >= end or deadline <= end:
        return Take(count)
    return WaitUntil(end)
