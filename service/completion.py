"""Complete the runs and cache hits of one version: log their events, then count them."""

from collections.abc import Sequence
from time import perf_counter

from registry.manifest import Version
from service.batching.job import Drop, RunResult
from service.call import Call, InferenceResponse
from service.prediction_log import PredictionLog
from service.telemetry.metrics import count_batch, count_drop, count_lookup, count_times
from service.telemetry.statistics import VersionStatistics


class Completion:
    """The logging and counting of one version's requests in this worker."""

    def __init__(
        self,
        version: Version,
        log: PredictionLog,
        statistics: VersionStatistics,
    ) -> None:
        self._version = version
        self._log = log
        self._statistics = statistics

    def batch(self, batch: Sequence[tuple[Call, RunResult]]) -> list[InferenceResponse]:
        """Log a batch and return its responses; raises LogUnavailable."""
        began = perf_counter()
        answers = self._log.append_responses(batch)
        rows = sum(call.inputs.rows for call, _ in batch if call.inputs is not None)
        self._statistics.record_batch(batch, rows=rows, began=began, ended=perf_counter())
        if batch:  # empty if every client has cancelled
            run_us = batch[0][1].run_us
            count_times(self._version, [run.queue_us for _, run in batch], run_us)
        return answers

    def count_batch(self, rows: int, queued: int) -> None:
        """Count an answered batch of `rows` rows; `queued` is the length of the queue."""
        count_batch(self._version, rows, queued)

    def hits(self, batch: Sequence[tuple[Call, RunResult]]) -> list[InferenceResponse]:
        """Log cache hits and return their responses; raises LogUnavailable."""
        answers = self._log.append_responses(batch)
        self._statistics.record_hits([call for call, _ in batch], ended=perf_counter())
        return answers

    def dropped(self, reason: Drop) -> None:
        """Count a request that left the queue without a run."""
        count_drop(self._version, reason)

    def hit(self, seconds: float) -> None:
        """Count a cache hit."""
        self._statistics.cache_hit.add(round(seconds * 1e9))
        count_lookup(self._version, "hit")

    def missed(self, seconds: float) -> None:
        """Count a cache miss and the duration of its lookup."""
        self._statistics.cache_miss.add(round(seconds * 1e9))
        count_lookup(self._version, "miss")

    def stored(self, seconds: float) -> None:
        """Add the duration of storing a new cache entry."""
        self._statistics.cache_miss.add(round(seconds * 1e9), 0)
