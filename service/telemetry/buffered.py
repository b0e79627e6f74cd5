"""Counts and observations kept as plain numbers, and handed to prometheus-client from time to time.

Its values live in files that all workers map, behind a lock: a microsecond or two for each, and a
request has several. Kept here first, they cost a tenth of that.
"""

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence

import msgspec
from prometheus_client import Counter, Histogram

Labels = tuple[str, ...]


class BufferedCounter:
    """A counter; belongs to one thread."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counts: Counts[Labels] = Counts()
        self._children: dict[Labels, Counter] = {}

    def inc(self, labels: Labels, number: int = 1) -> None:
        """Count so many more under these label values."""
        self._counts[labels] += number

    def flush(self) -> None:
        """Make what was counted visible."""
        counts, self._counts = self._counts, Counts()
        for labels, number in counts.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._counter.labels(*labels)
            child.inc(number)


class _Series(msgspec.Struct):
    buckets: list[int]
    total: float = 0.0


class BufferedHistogram:
    """A histogram; belongs to one thread."""

    def __init__(self, histogram: Histogram, bounds: Sequence[float]) -> None:
        """`bounds` are the upper ends of the histogram's buckets, without infinity."""
        self._histogram = histogram
        self._bounds = bounds
        self._series: dict[Labels, _Series] = {}
        self._children: dict[Labels, Histogram] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count a value under these label values."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series([0] * (len(self._bounds) + 1))
        series.buckets[bisect_left(self._bounds, value)] += 1
        series.total += value

    def flush(self) -> None:
        """Make what was observed visible."""
        gathered, self._series = self._series, {}
        for labels, series in gathered.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._histogram.labels(*labels)
            # The library can only observe one value at a time.
            child._sum.inc(series.total)  # noqa: SLF001
            for index, number in enumerate(series.buckets):
                if number:
                    child._buckets[index].inc(number)  # noqa: SLF001
