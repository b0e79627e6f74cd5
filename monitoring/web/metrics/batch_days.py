"""Metrics of batch-scored rows, which windows do not include: each version's newest day."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.counters.batch_days import BatchDay, unusual_share
from telemetry.clock import DAY

SHOWN_PERIOD = 8 * DAY  # so that a weekly job has an uninterrupted series


def batch_metrics(days: Mapping[tuple[str, str], BatchDay]) -> Iterator[Metric]:
    """Yield rows, failed chunks and the share outside the reference; `days` is by version."""
    labels = ["model", "version"]
    rows = GaugeMetricFamily(
        "driftline_batch_day_rows",
        "Rows of batch jobs, newest day with batch jobs.",
        labels=labels,
    )
    failed = GaugeMetricFamily(
        "driftline_batch_day_failed_chunks",
        "Chunks of batch jobs without a predicted row, newest day with batch jobs.",
        labels=labels,
    )
    outside = GaugeMetricFamily(
        "driftline_batch_day_outside_share",
        "Largest share of a column's rows outside the reference, newest day with batch jobs.",
        labels=labels,
    )
    for version, day in days.items():
        rows.add_metric(version, day.rows)
        failed.add_metric(version, day.failed)
        share = unusual_share(day)
        if share is not None:
            outside.add_metric(version, share)
    yield from (rows, failed, outside)
