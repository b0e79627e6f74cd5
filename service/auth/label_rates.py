"""Bound how many labels one key may write: each is an event of 180 bytes, from 3 bytes of JSON."""

import time
from collections.abc import Callable
from math import ceil

from service.errors import Overloaded

_BURST_S = 60  # a key may write the labels of so many seconds at once
_MOST_KEYS = 1_024


class LabelRates:
    """One token bucket for each key."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`rate` is in labels a second; 0 means no limit."""
        self._rate = rate
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}  # by key: labels above the rate, and when

    def take(self, key: str, labels: int) -> None:
        """Count labels of a key; raises Overloaded, and counts none, over its rate."""
        if not self._rate:
            return
        now = self._clock()
        spent, since = self._spent.get(key, (0.0, now))
        spent = max(0.0, spent - (now - since) * self._rate)
        excess = spent + labels - self._rate * _BURST_S
        if spent and excess > 0:
            raise Overloaded(
                f"{labels} labels are more than this key may write now; expected at most "
                f"{self._rate} a second",
                retry_after=max(1, ceil(excess / self._rate)),
            )
        if len(self._spent) >= _MOST_KEYS:
            self._spent.clear()
        self._spent[key] = spent + labels, now
