"""Metrics of pending approval requests."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from registry.pending_approvals import PendingApproval


def approval_metrics(pending: Sequence[PendingApproval]) -> Iterator[Metric]:
    """Yield the number of pending requests and the time of the oldest request, by model."""
    waiting = GaugeMetricFamily(
        "driftline_pending_approvals", "Pending approval requests.", labels=["model"]
    )
    oldest = GaugeMetricFamily(
        "driftline_oldest_pending_approval_timestamp_seconds",
        "Time of the oldest pending approval request.",
        labels=["model"],
    )
    for model, count in sorted(Counter(approval.model for approval in pending).items()):
        waiting.add_metric([model], count)
        oldest.add_metric(
            [model],
            min(approval.requested for approval in pending if approval.model == model) / 1e6,
        )
    yield from (waiting, oldest)
