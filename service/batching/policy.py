"""Everything that decides when a batch starts, and which requests it takes, lives here."""

from collections.abc import Iterable
from math import inf

import msgspec


class BatchPolicy(msgspec.Struct, frozen=True):
    """How large a batch may become and how long it may wait to fill, and who goes first."""

    max_rows: int  # 1: requests run one by one
    max_delay: float = 0.0  # seconds
    levels: int = 1  # of priority; order.py has the rule
    default_level: int = 1  # of who states none, or one that there is not; 1 is the highest
    step: float = 1.0  # seconds that a level is worth

    def level(self, priority: int) -> int:
        """The level of who states this priority, counted from 0."""
        return (priority if 0 < priority <= self.levels else self.default_level) - 1


class Take(msgspec.Struct, frozen=True):
    """Run the first `count` requests now."""

    count: int


class WaitUntil(msgspec.Struct, frozen=True):
    """Ask again at this time, or when another request has come."""

    time: float


def decide(
    waiting: Iterable[int], oldest: float, now: float, limits: BatchPolicy, deadline: float = inf
) -> Take | WaitUntil:
    """What to do when the runner is free and something waits.

    `waiting` holds the rows of each request, who goes first first, and is read no further than
    needed; `oldest` is when the first of them came, `deadline` the earliest of theirs, which no
    batch waits past to fill. A request larger than a batch runs alone.
    """
    rows = count = 0
    full = False
    for size in waiting:
        full = count > 0 and rows + size > limits.max_rows
        if full:
            break
        rows += size
        count += 1
    end = oldest + limits.max_delay
    if full or rows >= limits.max_rows or now >= end or deadline <= end:
        return Take(count)
    return WaitUntil(end)
