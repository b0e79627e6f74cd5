"""Metrics of the requests of models, by the hour of event time."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.alarms.traffic import JudgedHour


def traffic_metrics(newest: Mapping[str, JudgedHour]) -> Iterator[Metric]:
    """Yield the metrics of the newest evaluated hour of each model."""
    requests = GaugeMetricFamily(
        "driftline_traffic_requests",
        "Requests of a model, all versions together, newest evaluated hour.",
        labels=["model"],
    )
    expected = GaugeMetricFamily(
        "driftline_traffic_expected",
        "Requests expected from the same hours of the weeks before, newest evaluated hour.",
        labels=["model"],
    )
    for model, judged in newest.items():
        if not judged.day:
            requests.add_metric([model], judged.requests)
            if judged.expected is not None:
                expected.add_metric([model], judged.expected)
    yield from (requests, expected)
