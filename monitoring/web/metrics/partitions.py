"""Metrics of the partitions of a divided log."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.results import PartitionHolder


def partition_metrics(partitions: Sequence[PartitionHolder], now: int) -> Iterator[Metric]:
    """Yield the metrics of each partition; `now` is in microseconds since the epoch."""
    ownership = GaugeMetricFamily(
        "driftline_partition_held", "1 if a monitor holds the partition.", labels=["partition"]
    )
    behind = GaugeMetricFamily(
        "driftline_partition_behind_records",
        "Records of the partition that were not ingested at its monitor's last report.",
        labels=["partition"],
    )
    for partition in partitions:
        ownership.add_metric([str(partition.partition)], float(partition.is_held(now)))
        behind.add_metric([str(partition.partition)], partition.behind)
    yield from (ownership, behind)
