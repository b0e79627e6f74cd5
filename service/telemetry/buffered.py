"""Counts and observations kept as plain numbers, and handed to prometheus-client from time to time.

Its values live in files that all workers map, behind a lock: a microsecond or two for each, and a
request has several. Kept here first, they cost a tenth of that.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

Labels = tuple[str, ...]


class BufferedCounter:
    """A counter; belongs to one thread."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counts: dict[Labels, int] = {}
        self._children: dict[Labels, Counter] = {}

    def inc(self, labels: Labels, number: int = 1) -> None:
        """Count so many more under these label values."""
        self._counts[labels] = self._counts.get(labels, 0) + number

    def flush(self) -> None:
        """Make what was counted visible."""
        counts, self._counts = self._counts, {}
        for labels, number in counts.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._counter.labels(*labels)
            child.inc(number)


class BufferedHistogram:
    """A histogram; belongs to one thread."""

    def __init__(self, histogram: Histogram, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of the histogram's buckets, without infinity."""
        self._histogram = histogram
        self._bounds = bounds
        # How many values in each bucket, and behind them the sum of all.
        self._series: dict[Labels, list[float]] = {}
        self._children: dict[Labels, Histogram] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value under these label values."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = [0] * (len(self._bounds) + 2)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def flush(self) -> None:
        """Make what was observed visible."""
        gathered, self._series = self._series, {}
        for labels, series in gathered.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._histogram.labels(*labels)
            # The library can only observe one value at a time.
            child._sum.inc(series.pop())  # noqa: SLF001
            for index, number in enumerate(series):
                if number:
                    child._buckets[index].inc(number)  # noqa: SLF001
