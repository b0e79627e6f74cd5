"""What becomes of what one version has run or remembered: events, then answers, then numbers."""

from collections.abc import Sequence
from time import perf_counter

from registry.manifest import Version
from service.batching.job import Drop, RunResult
from service.call import Call, InferenceResponse
from service.prediction_log import PredictionLog
from service.telemetry.metrics import count_batch, count_drop, count_lookup, count_times
from service.telemetry.statistics import VersionStatistics


class Completion:
    """Everything that is counted of one version in this worker is counted from here."""

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
        """The answers of requests that ran together; raises LogUnavailable."""
        began = perf_counter()
        answers = self._log.append_responses(batch)
        rows = sum(call.inputs.rows for call, _ in batch if call.inputs is not None)
        self._statistics.record_batch(batch, rows=rows, began=began, ended=perf_counter())
        if batch:  # somebody is left to be answered
            run_us = batch[0][1].run_us
            count_times(self._version, [run.queue_us for _, run in batch], run_us)
        return answers

    def count_batch(self, rows: int, queued: int) -> None:
        """Count a batch of `rows` answered rows, while `queued` requests were in the queue."""
        count_batch(self._version, rows, queued)

    def hits(self, batch: Sequence[tuple[Call, RunResult]]) -> list[InferenceResponse]:
        """The answers of requests that were found in the cache; raises LogUnavailable."""
        answers = self._log.append_responses(batch)
        self._statistics.record_hits([call for call, _ in batch], ended=perf_counter())
        return answers

    def dropped(self, why: Drop) -> None:
        """A request left the queue without a run."""
        count_drop(self._version, why)

    def hit(self, seconds: float) -> None:
        """An answer was found in the cache."""
        self._statistics.cache_hit.add(round(seconds * 1e9))
        count_lookup(self._version, "hit")

    def missed(self, seconds: float) -> None:
        """None was; so long took looking for it."""
        self._statistics.cache_miss.add(round(seconds * 1e9))
        count_lookup(self._version, "miss")

    def kept(self, seconds: float) -> None:
        """A new answer was kept; so long took that."""
        self._statistics.cache_miss.add(round(seconds * 1e9), 0)
