"""Metrics of request outcomes, latency and label delay, from the windows' counters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.counters.service_health import SHARES
from monitoring.results import Result, Window
from monitoring.web.traffic_share import RequestShares
from monitoring.web.window_view import value

_VERSION = ["model", "version"]
_SHARES = {
    "driftline_window_error_share": (
        "error_share",
        "Share of requests that failed, were refused or expired, latest window.",
    ),
    "driftline_window_invalid_share": (
        "invalid_share",
        "Share of requests that were invalid for the model, latest window.",
    ),
}
_DURATIONS = {
    "driftline_window_latency_seconds": (
        "latency",
        "Time from reception to reply, latest window with requests; relative error at most 1/16.",
    ),
    "driftline_window_label_delay_seconds": (
        "label_delay",
        "Time from prediction to label, latest window with labels; relative error at most 1/16.",
    ),
}


def health_metrics(
    results: Sequence[list[Result]], by_window: Mapping[tuple[str, Window], RequestShares]
) -> Iterator[Metric]:
    """Yield the metrics of each version; its windows are given oldest first."""
    for metric, (score, meaning) in _SHARES.items():
        shares = GaugeMetricFamily(metric, meaning, labels=_VERSION)
        for windows in results:
            if (share := value(windows[-1], score)) is not None:
                shares.add_metric(_version_labels(windows), share)
        yield shares
    for metric, (score, meaning) in _DURATIONS.items():
        durations = GaugeMetricFamily(metric, meaning, labels=[*_VERSION, "quantile"])
        for windows in results:
            for name, share in SHARES.items():
                if (seconds := _newest(windows, f"{score}_{name}")) is not None:
                    durations.add_metric([*_version_labels(windows), str(share)], seconds)
        yield durations
    yield _version_shares(results, by_window)


def _version_shares(
    results: Iterable[list[Result]], by_window: Mapping[tuple[str, Window], RequestShares]
) -> GaugeMetricFamily:
    shares = GaugeMetricFamily(
        "driftline_window_version_share",
        "Share of the model's requests that the version answered, latest window.",
        labels=_VERSION,
    )
    for windows in results:
        model, version = _version_labels(windows)
        shares.add_metric(
            [model, version], by_window.get((model, windows[-1].window), {}).get(version, 0.0)
        )
    return shares


def _newest(windows: Sequence[Result], name: str) -> float | None:
    values = (value(window, name) for window in reversed(windows))
    return next((number for number in values if number is not None), None)


def _version_labels(windows: Sequence[Result]) -> list[str]:
    return [windows[0].model, windows[0].version]
