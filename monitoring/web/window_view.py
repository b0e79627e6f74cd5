"""Select and order the scores of a window for the pages. Pure."""

import math
from collections.abc import Sequence

import msgspec

from monitoring.alarms.severity import column_order, effects_by_column, severity
from monitoring.counters.service_health import LABEL_DELAY, LATENCY
from monitoring.presenter.names import PERFORMANCE
from monitoring.presenter.window_sentence import window_sentence
from monitoring.results import (
    EFFECT,
    EMBEDDING_DRIFT,
    EVIDENCE,
    JOINT,
    LEARNED_ROWS,
    PARITY,
    STRONGEST,
    Result,
    Score,
)

QUALITY = {  # quality measures and their display names
    "missing_share": "missing",
    "out_of_range_share": "out of range",
    "unseen_share": "unseen",
    "type_change_share": "of another type",
    "distinct_values": "stuck",
    "longest_run": "stuck for a while",
}
# Shown while the version learns its baseline.
STATISTICS = {"mean": "Mean", "p5": "5%", "p50": "Median", "p95": "95%"}
WINDOW_DRIFT = {  # window-level drift scores and their titles
    STRONGEST: "Largest drift",
    JOINT: "Feature correlations",
    EVIDENCE: "Concept drift evidence",
}


class ColumnView(msgspec.Struct, frozen=True):
    """One column of a window: its drift and its other scores."""

    name: str
    drift: Score | None
    severity: float | None  # drift divided by its threshold; 1 and above is drift
    others: dict[str, Score]  # other scores by name, such as "missing_share"

    @property
    def breached(self) -> bool:
        """Whether the column drifted."""
        return self.drift is not None and self.drift.breached

    @property
    def remark(self) -> str:
        """The notes of the column's scores."""
        others = (s for s in self.others.values() if s.name != EFFECT or s.value is None)
        notes = [score.note for score in (self.drift, *others) if score]
        return "; ".join(dict.fromkeys(note for note in notes if note))

    @property
    def effect(self) -> Score | None:
        """The effect of the column's drift on predictions."""
        return self.others.get(EFFECT)

    @property
    def troubles(self) -> list[str]:
        """The display names of the quality measures beyond their limits."""
        broken = {name for name, score in self.others.items() if score.breached}
        return [title for name, title in QUALITY.items() if name in broken]

    def first_of(self, *names: str) -> Score | None:
        """Return the first of these scores that the column has."""
        return next((self.others[name] for name in names if name in self.others), None)


def find(result: Result, name: str, column: str = "") -> Score | None:
    """Return the score with this name, of a column or of the whole window."""
    return next((s for s in result.scores if s.about == (name, column, "")), None)


def value(result: Result, name: str) -> float | None:
    """Return the value of a window-level score."""
    score = find(result, name)
    return score.value if score else None


def performance(result: Result) -> list[Score]:
    """Return performance scores in the usual order, but first the score that raises alarms."""
    scores = [s for s in result.scores if s.name in PERFORMANCE and s.of_whole]
    order = list(PERFORMANCE)
    return sorted(scores, key=lambda score: (score.threshold is None, order.index(score.name)))


class ConfusionRow(msgspec.Struct, frozen=True):
    """The labelled rows of one actual class, by predicted class."""

    actual: str
    rows: float
    cells: list[tuple[str, float]]  # predicted class and rows, in the order of all classes


def confusion(result: Result) -> list[ConfusionRow]:
    """Return the confusion matrix, with sorted classes; empty without labels."""
    by_actual = result.confusion
    names = sorted(set(by_actual).union(*by_actual.values()), key=_as_numbers)
    return [
        ConfusionRow(name, sum(row.values()), [(other, row.get(other, 0)) for other in names])
        for name in names
        for row in (by_actual.get(name, {}),)
    ]


def _as_numbers(name: str) -> tuple[float, str]:
    """Return the sort key of a class: numbers by value, before other names."""
    try:
        return float(name), name
    except ValueError:
        return math.inf, name


def chief_score(results: Sequence[Result]) -> str:
    """Return the first performance score's name in the newest window that has one; else ""."""
    return next(
        (performance(result)[0].name for result in reversed(results) if performance(result)), ""
    )


def window_drift(result: Result) -> list[tuple[str, Score]]:
    """Return window-level drift scores with their titles."""
    scores = ((title, find(result, name)) for name, title in WINDOW_DRIFT.items())
    return [(title, score) for title, score in scores if score and score.value is not None]


def failures(result: Result) -> list[Score]:
    """Return window-level scores without a value that no other part of the page shows."""
    shown = {*PERFORMANCE, LEARNED_ROWS, "drifted_share", *LATENCY, *LABEL_DELAY, PARITY}
    return [s for s in result.scores if s.of_whole and s.value is None and s.name not in shown]


def coverage(result: Result) -> float | None:
    """Return the share of rows that have a label."""
    return result.labelled / result.rows if result.rows else None


def columns(result: Result) -> list[ColumnView]:
    """Return every column, ordered by effect on predictions, then by severity."""
    by_column: dict[str, dict[str, Score]] = {}
    for score in result.scores:
        if score.column and not score.segment:
            by_column.setdefault(score.column, {})[score.name] = score
    effects = effects_by_column(result)
    views = []
    for name, scores in by_column.items():
        drift = scores.pop("drift", None) or scores.pop(EMBEDDING_DRIFT, None)
        views.append(ColumnView(name, drift, severity(drift), scores))
    return sorted(views, key=lambda view: column_order(view.name, view.drift, effects))


def sentence(result: Result) -> str:
    """Summarise the window in a sentence, with its first computed performance score."""
    scores = (score for score in performance(result) if score.value is not None)
    return window_sentence(result, next(scores, None))
