"""Buffer counts and observations as numbers, and flush them to prometheus-client.

A request causes several updates. prometheus-client updates memory-mapped files behind a lock, which
takes 1 to 2 us per update. An update of the buffer takes a tenth of this time.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Histogram

Labels = tuple[str, ...]


class BufferedCounter:
    """A buffered counter; not thread-safe."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._counts: dict[Labels, int] = {}
        self._children: dict[Labels, Counter] = {}

    def inc(self, labels: Labels, number: int = 1) -> None:
        """Add `number` under these label values."""
        self._counts[labels] = self._counts.get(labels, 0) + number

    def flush(self) -> None:
        """Add the buffered counts to the metric."""
        counts, self._counts = self._counts, {}
        for labels, number in counts.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._counter.labels(*labels)
            child.inc(number)


class BufferedHistogram:
    """A buffered histogram; not thread-safe."""

    def __init__(self, histogram: Histogram, bounds: Sequence[float]) -> None:
        """`bounds` are the upper bounds of the histogram's buckets, without infinity."""
        self._histogram = histogram
        self._bounds = bounds
        # labels -> count of each bucket, then the sum of all values
        self._series: dict[Labels, list[float]] = {}
        self._children: dict[Labels, Histogram] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Observe a value under these label values."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = [0] * (len(self._bounds) + 2)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    def flush(self) -> None:
        """Add the buffered observations to the metric."""
        buffered, self._series = self._series, {}
        for labels, series in buffered.items():
            child = self._children.get(labels)
            if child is None:
                child = self._children[labels] = self._histogram.labels(*labels)
            # The library's public method can observe only one value at a time.
            child._sum.inc(series.pop())  # noqa: SLF001
            for index, number in enumerate(series):
                if number:
                    child._buckets[index].inc(number)  # noqa: SLF001
