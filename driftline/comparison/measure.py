"""Measure two versions on their rows: metrics with bootstrap intervals, groups, calibration.

If both versions ran on the same rows, each bootstrap draw uses the same rows for both, so that
common errors cancel out. Rows of a canary are drawn separately for each version.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from driftline.gates.context import NotEnoughData
from driftline.gates.paired_rows import PairedRows
from driftline.gates.scores import cost_table
from monitoring.comparisons import (
    AnswerPair,
    CalibrationBin,
    Estimated,
    GroupRow,
    ScoreRow,
)
from monitoring.scoring.performance.metrics import (
    ERRORS,
    LabelledRows,
    classification,
    regression,
    single_metric,
)
from registry.gates.comparison import percentile_interval
from registry.gates.specification import CostGate, Costs
from registry.manifest import Manifest, SegmentPolicy

Array = np.ndarray[Any, Any]
Figures = dict[str, float | None]
Measure = Callable[[LabelledRows], Figures]

DRAWS = 200
FEWEST = 30  # minimum number of labelled rows for a score
_SEED = 20261129
_ERROR = 0.05  # share of draws outside an interval
_BINS = 10
_MOST_ANSWERS = 12  # maximum number of listed pairs of predictions
# Metrics that are larger for fewer rows, so that the smaller of two samples looks worse.
_BIASED = {"calibration_error"}
_SIGNED = {"bias"}  # metrics for which neither higher nor lower is better
_CLOSE = 0.1  # largest difference of equal numbers, in standard deviations


class Sides(NamedTuple):
    """The rows of two versions; if `paired`, `second` contains the predictions of both."""

    first: PairedRows
    second: PairedRows
    paired: bool

    @classmethod
    def pair(cls, rows: PairedRows) -> "Sides":
        """Return the sides of rows that both versions ran on."""
        return cls(rows, rows, paired=True)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the second version."""
        return self.second.manifest

    def labelled(self) -> "Sides":
        """Return the sides with only their labelled rows."""
        first, second = (
            rows.where(np.array([label is not None for label in rows.labels], dtype=bool))
            for rows in (self.first, self.second)
        )
        return Sides.pair(second) if self.paired else Sides(first, second, paired=False)

    def values(self) -> tuple[LabelledRows, LabelledRows]:
        """Return labels and predictions of the first version, and of the second version."""
        first = self.first.champion if self.paired else self.first.candidate
        assert first is not None
        return first, self.second.candidate


def scores_of(sides: Sides) -> list[ScoreRow]:
    """Return every metric that both versions have, computed on labelled rows."""
    if min(len(sides.first), len(sides.second)) < FEWEST:
        return []
    return list(_compared(sides, _all_metrics(sides.manifest), *_all_rows(sides)))


def cost_of(sides: Sides, costs: Costs) -> ScoreRow | None:
    """Return the mean cost per row, or None without costs or with too few labels."""
    if not costs or min(len(sides.first), len(sides.second)) < FEWEST:
        return None
    gate, name = CostGate(costs=costs), "cost of a row"
    table = cost_table(gate, sides.second)
    measure: Measure = lambda rows: {  # noqa: E731  # one expression
        name: float(table[rows.actual, rows.predicted].mean())
    }
    return next(_compared(sides, measure, *_all_rows(sides), lower={name}), None)


def agreement_of(paired: PairedRows) -> Estimated:
    """Return the share of rows with equal predictions; numbers within `_CLOSE` are equal."""
    equal = _equal(paired)
    random = np.random.default_rng(_SEED)
    draws = [float(equal[random.integers(len(equal), size=len(equal))].mean())
             for _ in range(DRAWS)]  # fmt: skip
    return Estimated(float(equal.mean()), *percentile_interval(draws, _ERROR))


def answers_of(paired: PairedRows) -> list[AnswerPair]:
    """Count the rows of each pair of predicted classes, the most frequent pair first."""
    if paired.champion_predictions is None or paired.manifest.task == "regression":
        return []
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(
        paired.champion_predictions.values, paired.candidate_predictions.values, strict=True
    ):
        counts[pair] = counts.get(pair, 0) + 1
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [AnswerPair(first, second, rows) for (first, second), rows in order[:_MOST_ANSWERS]]


def groups_of(sides: Sides) -> Iterator[GroupRow]:
    """Yield the groups of each segment of the policy, with agreement and accuracy (or MAE)."""
    labelled = sides.labelled()
    metric = "mae" if sides.manifest.task == "regression" else "accuracy"
    measure = single_metric(metric, _all_metrics(sides.manifest))
    for segment in sides.manifest.monitoring.segments:
        policy = SegmentPolicy.of(segment)
        try:
            names, places = sides.second.groups(policy)
            places_first = sides.first.groups(policy)[1]
            labelled_places = [rows.groups(policy)[1] for rows in (labelled.first, labelled.second)]
        except (NotEnoughData, KeyError):
            continue
        equal = _equal(sides.second) if sides.paired else None
        for number, name in enumerate(names):
            chosen = np.flatnonzero(places == number)
            if not len(chosen) and not np.any(places_first == number):
                continue
            own = [np.flatnonzero(group_of_row == number) for group_of_row in labelled_places]
            score = None
            if min(map(len, own)) >= FEWEST:
                score = next(_compared(labelled, measure, own[0], own[1]), None)
            agreement = float(equal[chosen].mean()) if equal is not None and len(chosen) else None
            yield GroupRow(policy.column, name, len(chosen), len(own[1]), agreement, score)


def calibration_of(rows: LabelledRows) -> list[CalibrationBin]:
    """Return bins of equal size by the positive class's probability, [] without such a class."""
    if rows.positive is None or rows.positive not in rows.scores or len(rows.actual) < FEWEST:
        return []
    score, positive = rows.scores[rows.positive], rows.actual == rows.positive
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order) // 10 or 1))
    return [
        CalibrationBin(float(score[p].mean()), float(positive[p].mean()), len(p)) for p in parts
    ]


def _all_rows(sides: Sides) -> tuple[Array, Array]:
    return np.arange(len(sides.first)), np.arange(len(sides.second))


def _all_metrics(manifest: Manifest) -> Measure:
    return regression if manifest.task == "regression" else classification


def _compared(
    sides: Sides,
    measure: Measure,
    rows_first: Array,
    rows_second: Array,
    lower: set[str] | frozenset[str] = ERRORS,
) -> Iterator[ScoreRow]:
    """Yield each metric of the chosen rows of both versions, with intervals."""
    first, second = sides.values()
    first, second = first.select(rows_first), second.select(rows_second)
    whole = measure(first), measure(second)
    random = np.random.default_rng(_SEED)
    drawn: list[tuple[Figures, Figures]] = []
    for _ in range(DRAWS):
        rows_first_drawn = random.integers(len(rows_first), size=len(rows_first))
        rows_second_drawn = (
            rows_first_drawn
            if sides.paired
            else random.integers(len(rows_second), size=len(rows_second))
        )
        drawn.append(
            (measure(first.select(rows_first_drawn)), measure(second.select(rows_second_drawn)))
        )
    equal_draws = drawn if sides.paired else _equal_draws(first, second, measure, random)
    for name, value in whole[0].items():
        ours = whole[1].get(name)
        if value is None or ours is None or name in _SIGNED:
            continue
        firsts = [first.get(name) for first, _ in drawn]
        seconds = [second.get(name) for _, second in drawn]
        pairs = [
            (of_first.get(name), of_second.get(name))
            for of_first, of_second in (equal_draws if name in _BIASED else drawn)
        ]
        differences = [None if a is None or b is None else b - a for a, b in pairs]
        yield ScoreRow(
            name,
            Estimated(value, *percentile_interval(firsts, _ERROR)),
            Estimated(ours, *percentile_interval(seconds, _ERROR)),
            Estimated(
                _median(differences) if name in _BIASED else ours - value,
                *percentile_interval(differences, _ERROR),
            ),
            lower_is_better=name in lower,
        )


def _median(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.median(numbers)) if numbers else None


def _equal_draws(
    first: LabelledRows, second: LabelledRows, measure: Measure, random: np.random.Generator
) -> list[tuple[Figures, Figures]]:
    """Measure draws that have the same number of rows from both versions."""
    sizes = len(first.actual), len(second.actual)
    fewest = min(sizes)

    def draw(rows: LabelledRows, size: int) -> Figures:
        return measure(rows.select(random.integers(size, size=fewest)))

    return [(draw(first, sizes[0]), draw(second, sizes[1])) for _ in range(DRAWS)]


def _equal(paired: PairedRows) -> Array:
    assert paired.champion_predictions is not None
    if paired.manifest.task == "regression":
        second, first = (
            np.asarray(rerun.score, float)
            for rerun in (paired.candidate_predictions, paired.champion_predictions)
        )
        near: Array = np.abs(second - first) <= _CLOSE * (float(np.std(first)) or 1.0)
        return near
    pairs = zip(
        paired.candidate_predictions.values, paired.champion_predictions.values, strict=True
    )
    return np.array([first == other for first, other in pairs], dtype=bool)
