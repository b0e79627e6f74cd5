"""Metrics of retraining requests that no version answers yet."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.presenter.retrain_loop import RetrainLoop


def retrain_loop_metrics(loops: Sequence[RetrainLoop]) -> Iterator[Metric]:
    """Count the requests of each model that await a candidate, and those that are overdue."""
    unanswered = GaugeMetricFamily(
        "driftline_unanswered_retrain_requests",
        "Delivered retraining requests that await a candidate.",
        labels=["model"],
    )
    overdue = GaugeMetricFamily(
        "driftline_overdue_retrain_requests",
        "Those of them that are older than DRIFTLINE_MONITOR_ANSWER_WITHIN_DAYS.",
        labels=["model"],
    )
    for model in sorted({one.model for one in loops}):
        own = [one for one in loops if one.model == model]
        unanswered.add_metric([model], sum(one.awaited == "candidate" for one in own))
        overdue.add_metric([model], sum(one.overdue for one in own))
    yield from (unanswered, overdue)
