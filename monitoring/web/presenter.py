"""Everything that decides what a result means to its reader lives here. Pure."""

import math
from collections.abc import Sequence

import msgspec

from monitoring.alarms.decision import breached
from monitoring.alarms.severity import severity
from monitoring.results import (
    EFFECT,
    ESTIMATED,
    EVIDENCE,
    JOINT,
    PARITY,
    SELECTION_GAP,
    STRONGEST,
    TRUE_POSITIVE_GAP,
    Result,
    Rule,
    Score,
)
from monitoring.scoring.service_health import LABEL_DELAY, LATENCY
from monitoring.web.formats import figure, percent, several

PERFORMANCE = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "mape": "mean absolute percentage error",
    "bias": "bias",
}
QUALITY = {
    "missing_share": "missing",
    "out_of_range_share": "out of range",
    "unseen_share": "unseen",
    "type_change_share": "of another type",
    "distinct_values": "stuck",
    "longest_run": "stuck for a while",
}
WHOLE = {
    STRONGEST: "Strongest column",
    JOINT: "Columns together",
    EVIDENCE: "Lasting gap",
}
GROUPS: dict[Rule, str] = {
    "segment": "beyond the limit for",
    SELECTION_GAP: "unlike selection rates by",
    TRUE_POSITIVE_GAP: "unlike true-positive rates by",
}


class ColumnReading(msgspec.Struct, frozen=True):
    """One column of a window: its drift and the other numbers about it."""

    name: str
    drift: Score | None
    severity: float | None  # how many thresholds away; 1 and above lie beyond
    others: dict[str, Score]  # "missing_share", "out_of_range_share", ...

    @property
    def breached(self) -> bool:
        """Whether it drifted."""
        return self.drift is not None and self.drift.breached

    @property
    def remark(self) -> str:
        """What the scores say in words."""
        others = (s for s in self.others.values() if s.name != EFFECT or s.value is None)
        notes = [score.note for score in (self.drift, *others) if score]
        return "; ".join(dict.fromkeys(note for note in notes if note))

    @property
    def effect(self) -> Score | None:
        """What its drift does to the answers."""
        return self.others.get(EFFECT)

    @property
    def troubles(self) -> list[str]:
        """What is wrong with its quality, in words."""
        broken = {name for name, score in self.others.items() if score.breached}
        return [said for name, said in QUALITY.items() if name in broken]

    def other(self, *names: str) -> Score | None:
        """The first of these numbers that was measured."""
        return next((self.others[name] for name in names if name in self.others), None)


def find(result: Result, name: str, column: str = "") -> Score | None:
    """The score of this name, of a column or of the whole."""
    return next((s for s in result.scores if s.about == (name, column, "")), None)


def value(result: Result, name: str) -> float | None:
    """The value of a score of the whole."""
    score = find(result, name)
    return score.value if score else None


def performance(result: Result) -> list[Score]:
    """The scores of performance: the one that raises alarms first, then in their usual order."""
    known = [s for s in result.scores if s.name in PERFORMANCE and s.of_whole]
    order = list(PERFORMANCE)
    return sorted(known, key=lambda score: (score.threshold is None, order.index(score.name)))


class Told(msgspec.Struct, frozen=True):
    """The rows of one class: how many were told to be of each."""

    true: str
    rows: int
    cells: list[tuple[str, int]]  # in the order of all classes


def confusion(result: Result) -> list[Told]:
    """What was told beside what was true, the classes in their order; empty where none is known."""
    true = result.confusion
    names = sorted(set(true).union(*true.values()), key=_as_numbers)
    return [
        Told(name, sum(row.values()), [(told, row.get(told, 0)) for told in names])
        for name in names
        for row in (true.get(name, {}),)
    ]


def _as_numbers(name: str) -> tuple[float, str]:
    """Numbers by their size, before words."""
    try:
        return float(name), name
    except ValueError:
        return math.inf, name


def chief_score(results: Sequence[Result]) -> str:
    """The name of the performance score to show, by the newest window that has one."""
    return next(
        (performance(result)[0].name for result in reversed(results) if performance(result)), ""
    )


def whole(result: Result) -> list[tuple[str, Score]]:
    """What the window as a whole is judged by, beside shares and performance; with its title."""
    found = ((title, find(result, name)) for name, title in WHOLE.items())
    return [(title, score) for title, score in found if score and score.value is not None]


def failures(result: Result) -> list[Score]:
    """What of the whole could not be computed and is shown nowhere else."""
    shown = {*PERFORMANCE, "drifted_share", *LATENCY, *LABEL_DELAY, PARITY}
    return [s for s in result.scores if s.of_whole and s.value is None and s.name not in shown]


def sentence(result: Result) -> str:
    """What a window showed, in one sentence."""
    drifted = [column.name for column in columns(result) if column.breached]
    scored = [score for score in performance(result) if score.value is not None]
    parts: list[str] = []
    share = find(result, "drifted_share")
    if result.verdict == "not enough data" and (share is None or share.value is not None):
        parts.append(f"{several(result.rows, 'row')} are too few for a verdict")
    if drifted:
        worst = ", ".join(drifted[:3])
        more = ", ..." if len(drifted) > 3 else ""
        parts.append(f"{several(len(drifted), 'column')} drifted: {worst}{more}")
    elif strong := breached("drift", result):
        parts.append(strong.note[:1].upper() + strong.note[1:])
    elif share is not None and share.value is None:
        parts.append(f"Drift was not scored: {share.note}")
    elif result.verdict == "ok":
        parts.append("No column drifted")
    for score in scored[:1]:
        alarm = f" (alarm at {figure(score.threshold)})" if score.threshold is not None else ""
        parts.append(f"{PERFORMANCE[score.name]} {figure(score.value)}{alarm}")
    if fault := breached("parity", result):
        parts.append(f"{percent(fault.value)} of answers are not the registered model's")
    parts += _of_groups(result)
    if breached("concept", result):
        parts.append("more errors than the inputs explain")
    if estimate := breached("estimate", result):
        name = PERFORMANCE[estimate.name.removeprefix(ESTIMATED)]
        parts.append(f"{name} estimated at {figure(estimate.value)} until labels come")
    return f"{'; '.join(parts) or 'Nothing was scored'}."


def _of_groups(result: Result) -> list[str]:
    """What broke the rules about groups."""
    broken = ((told, breached(rule, result)) for rule, told in GROUPS.items())
    return [f"{told} {score.segment} ({figure(score.value)})" for told, score in broken if score]


def coverage(result: Result) -> float | None:
    """The share of rows whose label is known."""
    return result.labelled / result.rows if result.rows else None


def columns(result: Result) -> list[ColumnReading]:
    """Every column: those whose drift changes most answers first, then the most drifted."""
    by_column: dict[str, dict[str, Score]] = {}
    for score in result.scores:
        if score.column and not score.segment:
            by_column.setdefault(score.column, {})[score.name] = score
    readings = []
    for name, scores in by_column.items():
        drift = scores.pop("drift", None)
        readings.append(ColumnReading(name, drift, severity(drift), scores))
    return sorted(readings, key=_order)


def _order(column: ColumnReading) -> tuple[float, float]:
    effect = column.others.get(EFFECT)
    changed = effect.value if effect and effect.value is not None else 0.0
    return -changed if column.breached else 0.0, -(
        -1.0 if column.severity is None else column.severity
    )
