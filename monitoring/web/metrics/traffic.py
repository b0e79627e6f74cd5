"""Metrics of the hourly requests of models."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.alarms.traffic import JudgedHour


def traffic_metrics(newest: Mapping[str, JudgedHour]) -> Iterator[Metric]:
    """Yield the metrics of each model's newest judged hour."""
    requests = GaugeMetricFamily(
        "driftline_traffic_requests",
        "Requests of a model, all versions together, newest judged hour.",
        labels=["model"],
    )
    expected = GaugeMetricFamily(
        "driftline_traffic_expected",
        "Requests expected from the same hours of previous weeks, newest judged hour.",
        labels=["model"],
    )
    for model, judged in newest.items():
        if not judged.day:
            requests.add_metric([model], judged.requests)
            if judged.expected is not None:
                expected.add_metric([model], judged.expected)
    yield from (requests, expected)
