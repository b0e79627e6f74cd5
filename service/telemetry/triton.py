"""Export the statistics with the names of Triton's metrics, for existing dashboards.

The values are set periodically, so that requests have no overhead. Triton's names do not end with
_total, which prometheus-client requires for counters. So these metrics are gauges, although they
only grow.
"""

from collections.abc import Iterable

from prometheus_client import Gauge

from service.telemetry.statistics import ModelStatistics


def _metric(name: str, meaning: str) -> Gauge:
    # The mode "sum" includes workers that have ended.
    return Gauge(f"nv_inference_{name}", meaning, ["model", "version"], multiprocess_mode="sum")


_SUCCESS = _metric("request_success", "Requests that were answered.")
_FAILURE = _metric("request_failure", "Requests that were not answered.")
_ROWS = _metric("count", "Rows answered.")
_RUNS = _metric("exec_count", "Runs of the model.")
_TOTAL = _metric("request_duration_us", "Time from reception to reply, total.")
_QUEUE = _metric("queue_duration_us", "Time in the queue, total.")
_INPUT = _metric("compute_input_duration_us", "Time for parsing and validation, total.")
_INFER = _metric("compute_infer_duration_us", "Time for merging and running batches, total.")
_OUTPUT = _metric("compute_output_duration_us", "Time for splitting batches and logging, total.")
_HITS = Gauge(
    "nv_cache_num_hits_per_model",
    "Hits of the response cache.",
    ["model", "version"],
    multiprocess_mode="sum",
)
_MISSES = Gauge(
    "nv_cache_num_misses_per_model",
    "Misses of the response cache.",
    ["model", "version"],
    multiprocess_mode="sum",
)


def export(statistics: Iterable[ModelStatistics]) -> None:
    """Set the metrics to these statistics."""
    for version in statistics:
        parts = version.inference_stats
        for metric, value in (
            (_SUCCESS, parts.success.count),
            (_FAILURE, parts.fail.count),
            (_ROWS, version.inference_count),
            (_RUNS, version.execution_count),
            (_TOTAL, parts.success.ns / 1e3),
            (_QUEUE, parts.queue.ns / 1e3),
            (_INPUT, parts.compute_input.ns / 1e3),
            (_INFER, parts.compute_infer.ns / 1e3),
            (_OUTPUT, parts.compute_output.ns / 1e3),
            (_HITS, parts.cache_hit.count),
            (_MISSES, parts.cache_miss.count),
        ):
            metric.labels(version.name, version.version).set(value)
