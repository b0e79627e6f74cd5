"""The metrics of a window's segments: as many series as the policy allows groups."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from monitoring.results import Result, Score
from monitoring.web.segment_tables import GAPS

_VERSION = ["model", "version"]


def segment_metrics(results: Iterable[Sequence[Result]]) -> Iterator[Metric]:
    """Yield each figure of a version's newest window that has it; windows are oldest first."""
    figures = GaugeMetricFamily(
        "driftline_window_segment",
        "Score of the rows of one segment (column=value), latest window that has it.",
        labels=[*_VERSION, "segment", "score"],
    )
    gaps = GaugeMetricFamily(
        "driftline_window_gap",
        "Highest minus lowest rate of the groups of a column, latest window that has rates.",
        labels=[*_VERSION, "column", "score"],
    )
    for windows in results:
        about = [windows[0].model, windows[0].version]
        for score in _newest(windows):
            if score.value is not None:
                family = gaps if score.name in GAPS else figures
                family.add_metric([*about, score.segment, score.name], score.value)
    yield from (figures, gaps)


def _newest(windows: Sequence[Result]) -> Iterable[Score]:
    """Return the newest of each: only groups that the latest window with segments has."""
    latest = next((window for window in reversed(windows) if _parts(window)), None)
    if latest is None:
        return ()
    there = {score.segment for score in latest.scores}
    scores = {
        score.about: score
        for window in windows
        for score in _parts(window)
        if score.value is not None and score.segment in there
    }
    return scores.values()


def _parts(result: Result) -> list[Score]:
    return [score for score in result.scores if score.segment]
