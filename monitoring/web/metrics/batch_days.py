"""Metrics of the rows of files: the newest day of each version; windows do not include them."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.counters.batch_days import BatchDay, unusual_share
from telemetry.clock import DAY

SHOWN = 8 * DAY  # a weekly job has a series from one run to the next


def batch_metrics(days: Mapping[tuple[str, str], BatchDay]) -> Iterator[Metric]:
    """Yield rows, failed chunks and share outside the reference of each version's newest day."""
    labels = ["model", "version"]
    rows = GaugeMetricFamily(
        "driftline_batch_day_rows", "Rows of files, newest day that had any.", labels=labels
    )
    failed = GaugeMetricFamily(
        "driftline_batch_day_failed_chunks",
        "Chunks of files without a predicted row, newest day.",
        labels=labels,
    )
    outside = GaugeMetricFamily(
        "driftline_batch_day_outside_share",
        "Share of rows outside the reference in the column with the largest share, newest day.",
        labels=labels,
    )
    for version, day in days.items():
        rows.add_metric(version, day.rows)
        failed.add_metric(version, day.failed)
        share = unusual_share(day)
        if share is not None:
            outside.add_metric(version, share)
    yield from (rows, failed, outside)
