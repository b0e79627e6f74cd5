"""The statistics of each version, per request and per run."""

from typing import Any

import pytest

from registry.errors import UnknownModel, UnknownVersion
from service.batching.job import RunResult
from service.telemetry.statistics import Duration, Statistics, VersionStatistics
from tests.service.in_process import InProcessWorker, version

MS = 1_000_000  # nanoseconds


def _share(*, queue_us: int, run_us: int) -> RunResult:
    return RunResult({}, "b", 3, 0, queue_us, run_us)


def test_every_request_has_its_batchs_durations_and_their_sum_is_the_total() -> None:
    worker = InProcessWorker()
    calls = [worker.call("rest", "sums", ""), worker.call("rest", "sums", "")]
    calls[1].started = 0.001  # seconds; the other came at 0
    counted = VersionStatistics("sums", "1", clock=lambda: 0.109, now=lambda: 7.1)
    shares = [_share(queue_us=2_000, run_us=4_000), _share(queue_us=1_000, run_us=4_000)]
    counted.record_batch(list(zip(calls, shares, strict=True)), rows=3, began=0.008, ended=0.009)
    reported = counted.snapshot()
    assert (reported.inference_count, reported.execution_count, reported.last_inference) == (
        3,
        1,
        7_000,
    )
    stats = reported.inference_stats
    assert stats.success == Duration(2, (9 + 8) * MS)
    assert stats.queue == Duration(2, 3 * MS)
    assert stats.compute_infer == Duration(2, 8 * MS)
    assert abs(stats.compute_output.ns - 2 * MS) < 10
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert sum(part.ns for part in parts) == stats.success.ns
    (batch,) = reported.batch_stats
    assert (batch.batch_size, batch.compute_infer) == (3, Duration(1, 4 * MS))


def test_runs_are_distinguished_by_their_size() -> None:
    call: Any = InProcessWorker().call("rest", "sums", "")
    counted = VersionStatistics("sums", "1")
    for rows in (8, 1, 8):
        batch = [(call, _share(queue_us=0, run_us=1_000))]
        counted.record_batch(batch, rows=rows, began=0.001, ended=0.002)
    reported = counted.snapshot()
    assert [(b.batch_size, b.compute_infer.count) for b in reported.batch_stats] == [(1, 1), (8, 2)]
    assert (reported.inference_count, reported.execution_count) == (17, 3)


def test_a_batch_without_waiting_callers_is_not_counted() -> None:
    counted = VersionStatistics("sums", "1")
    counted.record_batch([], rows=0, began=0.0, ended=0.0)
    assert counted.snapshot() == VersionStatistics("sums", "1").snapshot()


async def test_statistics_can_be_requested_for_all_models_a_model_or_a_version() -> None:
    worker, statistics = InProcessWorker(), Statistics()
    worker.catalogue.held = {"sums": ["1", "2"], "more": ["1"]}
    worker.catalogue.named = {"sums": {"champion": "1"}}
    await worker.models.refresh()
    statistics.record_failure(version("1"), 0.5)

    def asked(*names: str) -> list[tuple[str, str, int]]:
        reported = statistics.of_versions(worker.models.select(*names))
        return [(one.name, one.version, one.inference_stats.fail.count) for one in reported]

    assert asked() == [("more", "1", 0), ("sums", "1", 1), ("sums", "2", 0)]
    assert asked("sums") == [("sums", "1", 1), ("sums", "2", 0)]
    assert asked("sums", "champion") == [("sums", "1", 1)]
    with pytest.raises(UnknownModel):
        asked("none")
    with pytest.raises(UnknownVersion):
        asked("sums", "9")
