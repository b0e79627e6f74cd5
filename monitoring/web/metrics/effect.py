"""Metrics of prediction parity and of the effect of drift on predictions."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.results import EFFECT, PARITY, SHIFT, Result
from monitoring.web.window_view import value

_VERSION = ["model", "version"]


def effect_metrics(results: Iterable[Sequence[Result]]) -> Iterator[Metric]:
    """Yield the metrics of each version's latest window."""
    parity = GaugeMetricFamily(
        "driftline_window_parity",
        "Share of logged predictions that a new run does not reproduce, latest window.",
        labels=_VERSION,
    )
    effect = GaugeMetricFamily(
        "driftline_window_effect",
        "Effect of a column's drift on predictions, latest window: share of changed predictions, "
        "or a regression's mean change in standard deviations; column='': all columns together.",
        labels=[*_VERSION, "column"],
    )
    shift = GaugeMetricFamily(
        "driftline_window_effect_shift",
        "Change of the mean probability or prediction by a column's drift, latest window.",
        labels=[*_VERSION, "column"],
    )
    for windows in results:
        latest = windows[-1]
        key = [latest.model, latest.version]
        if (share := value(latest, PARITY)) is not None:
            parity.add_metric(key, share)
        for score in latest.scores:
            family = {EFFECT: effect, SHIFT: shift}.get(score.name)
            if family is not None and score.value is not None:
                family.add_metric([*key, score.column], score.value)
    yield from (parity, effect, shift)
