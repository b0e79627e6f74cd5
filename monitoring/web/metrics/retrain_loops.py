"""Metrics of retraining requests without a candidate."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.presenter.retrain_loop import RetrainLoop


def retrain_loop_metrics(loops: Sequence[RetrainLoop]) -> Iterator[Metric]:
    """Yield the number of requests that await a candidate or are overdue, by model."""
    unanswered = GaugeMetricFamily(
        "driftline_unanswered_retrain_requests",
        "Delivered retraining requests that await a candidate.",
        labels=["model"],
    )
    overdue = GaugeMetricFamily(
        "driftline_overdue_retrain_requests",
        "Unanswered retraining requests older than DRIFTLINE_MONITOR_ANSWER_WITHIN_DAYS.",
        labels=["model"],
    )
    for model in sorted({loop.model for loop in loops}):
        of_model = [loop for loop in loops if loop.model == model]
        unanswered.add_metric([model], sum(loop.awaited == "candidate" for loop in of_model))
        overdue.add_metric([model], sum(loop.overdue for loop in of_model))
    yield from (unanswered, overdue)
