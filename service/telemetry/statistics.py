"""The statistics extension: counters of each version in this worker since its start.

Format and meaning are Triton's. Each request of a batch counts the whole batch's durations, so that
sum / count is the mean duration of a request; `batch_stats` counts each run once. The statistics
cover only the worker that answers, whereas /metrics sums all workers.
"""

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter, time

import msgspec

from registry.manifest import Version
from service.batching.job import RunResult
from service.call import Call


class Duration(msgspec.Struct):
    """A count of occurrences and their total duration in nanoseconds."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Add `count` occurrences of `ns` nanoseconds in total."""
        self.count += count
        self.ns += ns


class InferenceStatistics(msgspec.Struct):
    """Durations by request.

    A cache hit counts only in `success`, `queue` and `cache_hit`.
    """

    success: Duration = msgspec.field(default_factory=Duration)  # reception to append to the log
    fail: Duration = msgspec.field(default_factory=Duration)
    queue: Duration = msgspec.field(default_factory=Duration)  # time in the queue
    compute_input: Duration = msgspec.field(default_factory=Duration)  # reading and checking
    compute_infer: Duration = msgspec.field(default_factory=Duration)  # merging and running
    compute_output: Duration = msgspec.field(default_factory=Duration)  # splitting and logging
    cache_hit: Duration = msgspec.field(default_factory=Duration)  # lookup
    cache_miss: Duration = msgspec.field(default_factory=Duration)  # lookup and insertion


class BatchStatistics(msgspec.Struct):
    """Durations by run, over all runs of one batch size."""

    batch_size: int  # number of rows
    compute_input: Duration = msgspec.field(default_factory=Duration)
    compute_infer: Duration = msgspec.field(default_factory=Duration)
    compute_output: Duration = msgspec.field(default_factory=Duration)


class ModelStatistics(msgspec.Struct):
    """The statistics of one version in the extension's format."""

    name: str
    version: str
    last_inference: int = 0  # milliseconds since the epoch; 0 before the first request
    inference_count: int = 0  # number of answered rows
    execution_count: int = 0  # number of runs
    inference_stats: InferenceStatistics = msgspec.field(default_factory=InferenceStatistics)
    batch_stats: list[BatchStatistics] = []


class _Runs:
    """Totals over all runs of one batch size, in seconds unless the name has a unit."""

    __slots__ = (
        "count",
        "output",
        "outputs",
        "queue_us",
        "requests",
        "run_us",
        "runs_us",
        "total",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = self.requests = 0
        self.queue_us = 0  # time in the queue, sum over requests
        self.run_us = self.runs_us = 0  # duration of runs: sum over runs, sum over requests
        self.total = 0.0  # duration from reception to log, sum over requests
        self.output = self.outputs = 0.0  # time after the run: sum over runs, sum over requests

    @property
    def input_ns(self) -> int:
        """The time for reading and checking: the total of all requests minus their other parts."""
        parts = (self.queue_us + self.runs_us) * 1_000 + _ns(self.outputs)
        return max(0, _ns(self.total) - parts)


class VersionStatistics:
    """The counters of one version; they cost a few additions per batch and two per request."""

    def __init__(
        self,
        name: str,
        version: str,
        clock: Callable[[], float] = perf_counter,
        now: Callable[[], float] = time,
    ) -> None:
        """`clock` is the clock of `Call.started`; `now` returns seconds since the epoch."""
        self._name_and_version = name, version
        self._clock = clock
        self._now = now
        self._sizes: dict[int, _Runs] = {}
        self._last = 0.0
        self._fail = Duration()
        self._hits = Duration()
        self.cache_hit = Duration()
        self.cache_miss = Duration()

    def record_batch(
        self, batch: Sequence[tuple[Call, RunResult]], *, rows: int, began: float, ended: float
    ) -> None:
        """Record a batch whose run ended at `began` and whose events were logged at `ended`."""
        if not batch:  # all clients have cancelled during the run
            return
        runs = self._sizes.get(rows)
        if runs is None:
            runs = self._sizes[rows] = _Runs()
        runs.total += len(batch) * ended - sum([call.started for call, _ in batch])
        runs.queue_us += sum([run.queue_us for _, run in batch])
        runs.runs_us += sum([run.run_us for _, run in batch])
        runs.count += 1
        runs.requests += len(batch)
        runs.run_us += batch[-1][1].run_us
        runs.output += ended - began
        runs.outputs += (ended - began) * len(batch)
        self._last = ended

    def record_hits(self, calls: Sequence[Call], *, ended: float) -> None:
        """Record cache hits whose events were logged at `ended`."""
        for call in calls:
            self._hits.add(_ns(ended - call.started))
        self._last = ended

    def record_failure(self, seconds: float) -> None:
        """Record a request without a response."""
        self._fail.add(_ns(seconds))

    def snapshot(self) -> ModelStatistics:
        """Return the current statistics."""
        sizes = sorted(self._sizes.items())
        runs = [run for _, run in sizes]
        last = (self._now() - (self._clock() - self._last)) * 1_000 if self._last else 0
        return ModelStatistics(
            *self._name_and_version,
            last_inference=int(last),
            inference_count=sum(rows * run.count for rows, run in sizes),
            execution_count=sum(run.count for run in runs),
            inference_stats=self._by_request(runs),
            batch_stats=[_by_run(*size) for size in sizes],
        )

    def _by_request(self, runs: Sequence[_Runs]) -> InferenceStatistics:
        count = sum(run.requests for run in runs)
        hits = self._hits
        return InferenceStatistics(
            success=Duration(count + hits.count, hits.ns + sum(_ns(run.total) for run in runs)),
            fail=self._fail,
            queue=Duration(count + hits.count, sum(run.queue_us for run in runs) * 1_000),
            compute_input=Duration(count, sum(run.input_ns for run in runs)),
            compute_infer=Duration(count, sum(run.runs_us for run in runs) * 1_000),
            compute_output=Duration(count, sum(_ns(run.outputs) for run in runs)),
            cache_hit=self.cache_hit,
            cache_miss=self.cache_miss,
        )


def _by_run(rows: int, runs: _Runs) -> BatchStatistics:
    return BatchStatistics(
        rows,
        Duration(runs.count, runs.input_ns),
        Duration(runs.count, runs.run_us * 1_000),
        Duration(runs.count, _ns(runs.output)),
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


class Statistics:
    """The statistics of all versions of this worker; a reload of a version does not reset them."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], VersionStatistics] = {}

    def of(self, version: Version) -> VersionStatistics:
        """Return the counters of a version."""
        key = version.model, version.number
        if key not in self._versions:
            self._versions[key] = VersionStatistics(*key)
        return self._versions[key]

    def record_failure(self, version: Version, seconds: float) -> None:
        """Record a request to this version without a response."""
        self.of(version).record_failure(seconds)

    def snapshots(self) -> list[ModelStatistics]:
        """Return the statistics of all versions, loaded or not."""
        return [version.snapshot() for version in self._versions.values()]

    def of_versions(self, versions: Iterable[Version]) -> list[ModelStatistics]:
        """Return the statistics of these versions."""
        return [self.of(version).snapshot() for version in versions]
