"""Charts of one column of a model version over time, one chart per score. Pure."""

from collections.abc import Callable, Sequence

import msgspec

from monitoring.presenter.formats import figure, number, percent, period
from monitoring.results import EFFECT, EMBEDDING_DRIFT, MOVED, Score
from monitoring.web.charts.lines import Axis, line_chart
from monitoring.web.charts.plot import Mark
from monitoring.web.charts.version_charts import (
    HALF,
    WHOLE,
    Picture,
    Timeline,
    draw_both,
    sheets_of,
)
from monitoring.web.window_view import find


class Measure(msgspec.Struct, frozen=True):
    """A score of a column and its format."""

    name: str  # name of the score in results
    title: str
    write: Callable[[float], str] = figure  # formats a value


def _count(value: float) -> str:
    return number(round(value))


DRIFT = ("drift", EMBEDDING_DRIFT)  # scores whose charts show drift alarms
MEASURES = [  # in the order of display
    Measure("drift", "Drift statistic"),
    Measure(EMBEDDING_DRIFT, "Drift of the embeddings"),
    Measure("missing_share", "Missing values", percent),
    Measure("out_of_range_share", "Out of range", percent),
    Measure("unseen_share", "Unseen values", percent),
    Measure("type_change_share", "Values of another type", percent),
    Measure(EFFECT, "Effect on predictions"),
    Measure(MOVED, "Change of correlations"),
    Measure("mean", "Mean"),
    Measure("p50", "Median"),
    Measure("distinct_values", "Distinct values", _count),
    Measure("longest_run", "Longest run of one value", _count),
]


def column_charts(line: Timeline, column: str) -> list[Picture]:
    """Return a chart of each score that the column has in any window; the first chart is wide."""
    charts: list[Picture] = []
    for measure in MEASURES:
        scores = [
            find(result, measure.name, column) if result else None for _, result in line.cells
        ]
        if any(score is not None and score.value is not None for score in scores):
            charts.append(_chart(line, measure, scores, HALF if charts else WHOLE))
    return charts


def _chart(
    line: Timeline, measure: Measure, scores: Sequence[Score | None], width: float
) -> Picture:
    marks = [
        _mark(period(slot.window), score, measure)
        for (slot, _), score in zip(line.cells, scores, strict=True)
    ]
    limits = [score.threshold if score else None for score in scores]
    share = measure.write is percent
    axis = Axis(measure.title, measure.write, always=(0.0, 0.05) if share else ())
    sheets = sheets_of(line, "drift" if measure.name in DRIFT else None, width)
    methods = dict.fromkeys(score.method for score in scores if score and score.method)
    return draw_both(
        measure.title,
        (", then ".join(methods), _rule(limits, measure.write)),
        sheets,
        lambda sheet: line_chart(sheet, marks, axis, limits),
    )


def _rule(limits: Sequence[float | None], write: Callable[[float], str]) -> str:
    """Return the threshold as text; empty if no window has a threshold."""
    distinct = {limit for limit in limits if limit is not None}
    if len(distinct) == 1:
        return f"threshold {write(distinct.pop())}"
    return "threshold of each window" if distinct else ""


def _mark(when: str, score: Score | None, measure: Measure) -> Mark:
    if score is None or score.value is None:
        return Mark(title=f"{when}: {score.note if score and score.note else 'not scored'}")
    words = f"{when}: {measure.write(score.value)}"
    if score.threshold is not None:
        words += f", threshold {measure.write(score.threshold)}"
    return Mark(score.value, words, breached=score.breached)
