"""Metrics of segments; the number of series is limited by the policy's limit of groups."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.results import Result, Score
from monitoring.web.segment_tables import GAPS

_VERSION = ["model", "version"]


def segment_metrics(results: Iterable[Sequence[Result]]) -> Iterator[Metric]:
    """Yield the newest value of each figure; a version's windows are given oldest first."""
    figures = GaugeMetricFamily(
        "driftline_window_segment",
        "Score of one segment's rows (column=value), latest window with this score.",
        labels=[*_VERSION, "segment", "score"],
    )
    gaps = GaugeMetricFamily(
        "driftline_window_gap",
        "Highest minus lowest rate of a column's groups, latest window with rates.",
        labels=[*_VERSION, "column", "score"],
    )
    for windows in results:
        key = [windows[0].model, windows[0].version]
        for score in _newest(windows):
            if score.value is not None:
                family = gaps if score.name in GAPS else figures
                family.add_metric([*key, score.segment, score.name], score.value)
    yield from (figures, gaps)


def _newest(windows: Sequence[Result]) -> Iterable[Score]:
    """Return the newest value of each score, for groups of the latest window with segments."""
    latest = next((window for window in reversed(windows) if _parts(window)), None)
    if latest is None:
        return ()
    segments = {score.segment for score in latest.scores}
    scores = {
        score.about: score
        for window in windows
        for score in _parts(window)
        if score.value is not None and score.segment in segments
    }
    return scores.values()


def _parts(result: Result) -> list[Score]:
    return [score for score in result.scores if score.segment]
