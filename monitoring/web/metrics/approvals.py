"""Metrics of requests that wait for an approval."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from registry.pending_approvals import PendingApproval


def approval_metrics(pending: Sequence[PendingApproval]) -> Iterator[Metric]:
    """Count the requests of each model, and state when the oldest one was made."""
    waiting = GaugeMetricFamily(
        "driftline_pending_approvals", "Requests that wait for an approval.", labels=["model"]
    )
    oldest = GaugeMetricFamily(
        "driftline_oldest_pending_approval_timestamp_seconds",
        "When the oldest of them was made.",
        labels=["model"],
    )
    for model, count in sorted(Counter(one.model for one in pending).items()):
        waiting.add_metric([model], count)
        oldest.add_metric(
            [model], min(one.requested for one in pending if one.model == model) / 1e6
        )
    yield from (waiting, oldest)
