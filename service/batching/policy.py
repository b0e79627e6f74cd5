"""Decide when a batch starts and which requests it takes. Pure."""

from collections.abc import Iterable
from math import inf

import msgspec


class BatchPolicy(msgspec.Struct, frozen=True):
    """Largest batch, longest wait to fill it, and priority levels."""

    max_rows: int  # 1: requests run one by one
    max_delay: float = 0.0  # seconds
    levels: int = 1  # number of priority levels; order.py has the rule
    default_level: int = 1  # for a missing or unknown priority; 1 is the highest
    step: float = 1.0  # seconds that a level is worth
    max_bytes: float = inf  # maximum bytes of the merged inputs

    def full(self, rows: int, size: int) -> bool:
        """Return whether a batch of `rows` rows and `size` bytes can take no more."""
        return rows >= self.max_rows or size >= self.max_bytes

    def level(self, priority: int) -> int:
        """Return the level of a stated priority, counted from 0."""
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
    """Decide what to do while the runner is free and requests are queued.

    `waiting` yields rows and bytes of each queued request in order, and is read no further than
    needed. `oldest` is the arrival of the oldest; `deadline` is the earliest deadline, past which
    no batch waits to fill. A request larger than a batch runs alone.
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
