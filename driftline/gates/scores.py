"""Gates on predictions and labels: metrics, costs and gaps between groups."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext
from driftline.gates.paired_rows import PairedRows, reference_rows
from monitoring.scoring.performance.metrics import ERRORS, LabelledRows
from registry.gates.comparison import Compared, compare, judge_difference, judge_limit
from registry.gates.fit import scored_fault
from registry.gates.outcomes import GateFigure, GateOutcome, of_figures
from registry.gates.specification import CostGate, GapGate, MetricGate, ScoredGate, kind_of

Array = np.ndarray[Any, Any]
_UNDEFINED = "not defined for these rows"
_Figure = Callable[[LabelledRows], float | None]


def check_scores(gate: ScoredGate, context: GateContext) -> GateOutcome:
    """Judge a gate of kind `metric`, `cost` or `gap` on a reference's rows."""
    if fault := scored_fault(gate, context.candidate.manifest):
        return GateOutcome("", kind_of(gate), "failed", fault)
    paired = reference_rows(context, gate.rows)
    context.progress(f"{len(paired)} rows")
    figures = list(judge(gate, paired))
    compared = gate.worse_by is not None or gate.rows == "champion"
    outcome = of_figures(figures)
    return GateOutcome("", kind_of(gate), outcome, "", figures, against_champion=compared)


def judge(gate: ScoredGate, paired: PairedRows) -> Iterator[GateFigure]:
    """Yield the figures of a gate, computed on labelled rows."""
    if isinstance(gate, GapGate):
        yield from _gap(gate, paired)
        return
    everyone = np.arange(len(paired))
    groups: Sequence[tuple[str, Array]] = [("", everyone)]
    if gate.segment:
        names, places = paired.groups(gate.segment)
        groups = [(name, np.flatnonzero(places == n)) for n, name in enumerate(names)]
    large = sum(len(rows) >= gate.min_rows for _, rows in groups)
    for name, rows in groups:
        yield from _group(gate, paired, name, rows, error=0.05 / max(large, 1))


def _group(
    gate: ScoredGate, paired: PairedRows, group: str, rows: Array, error: float
) -> Iterator[GateFigure]:
    name, figure = _figure(gate, paired)
    if len(rows) < gate.min_rows:
        note = f"{len(rows)} rows; expected at least {gate.min_rows}"
        yield GateFigure(name, None, "not enough data", group=group, rows=len(rows), note=note)
        return
    compared = _compare(gate, paired, figure, rows, error)
    yield from _figures(gate, paired, name, compared, group, len(rows))


def _compare(
    gate: ScoredGate, paired: PairedRows, figure: _Figure, rows: Array, error: float
) -> Compared:
    mine = paired.candidate.select(rows)
    theirs = paired.champion.select(rows) if paired.champion is not None else None
    return compare(
        len(rows),
        lambda drawn: figure(mine.select(drawn)),
        None if theirs is None else lambda drawn: figure(theirs.select(drawn)),
        lower_is_better=_lower_is_better(gate),
        error=error,
    )


def _figures(  # noqa: PLR0913, PLR0917  # one argument per field of a figure
    gate: ScoredGate, paired: PairedRows, name: str, compared: Compared, group: str, rows: int
) -> Iterator[GateFigure]:
    at_least: float | None = getattr(gate, "at_least", None)
    candidate, better = compared.candidate, compared.better
    more: dict[str, Any] = {"group": group, "rows": rows}
    if at_least is not None or gate.at_most is not None:
        outcome = judge_limit(candidate, at_least, gate.at_most, gate.by)
        yield GateFigure(
            name, candidate.value, outcome, at_least, gate.at_most, candidate.low, candidate.high,
            compared.champion, **more, note=_UNDEFINED if candidate.value is None else "",
        )  # fmt: skip
    if gate.worse_by is None:
        return
    name = f"{name}, better than the champion by"
    if paired.champion is None:
        note = paired.no_champion_reason
        outcome = "passed" if note == NO_CHAMPION_NOTE else "not enough data"
        yield GateFigure(name, None, outcome, note=note, **more)
        return
    outcome = judge_difference(better, gate.worse_by, gate.champion_by)
    yield GateFigure(
        name, better.value, outcome, -gate.worse_by, None, better.low, better.high, **more,
        note=f"{candidate.value:.6g}, champion {compared.champion:.6g}"
        if candidate.value is not None and compared.champion is not None
        else _UNDEFINED,
    )  # fmt: skip


def _figure(gate: ScoredGate, paired: PairedRows) -> tuple[str, _Figure]:
    """Return the name of a gate's figure, and the function that computes it."""
    if isinstance(gate, CostGate):
        table = cost_table(gate, paired)
        return "cost of a row", lambda rows: float(table[rows.actual, rows.predicted].mean())
    assert isinstance(gate, MetricGate)
    return gate.metric, _metric(gate.metric, paired)


def _metric(name: str, paired: PairedRows) -> _Figure:
    figures = paired.figures(name)
    return lambda rows: figures(rows).get(name)


def cost_table(gate: CostGate, paired: PairedRows) -> Array:
    """Return the cost of each pair of classes, indexed [actual, predicted] by class code."""
    positive = paired.candidate.positive
    table = np.zeros((len(paired.codes), len(paired.codes)))
    for name, cost in gate.costs.items():
        if isinstance(cost, dict):
            for predicted, value in cost.items():
                table[paired.codes[name], paired.codes[predicted]] = value
        else:
            assert positive is not None
            _set_binary(table, name, cost, positive)
    return table


def _set_binary(table: Array, name: str, cost: float, positive: int) -> None:
    is_positive = np.arange(len(table)) == positive
    actual = is_positive if name in {"false_negative", "true_positive"} else ~is_positive
    predicted = is_positive if name.endswith("positive") else ~is_positive
    table[np.ix_(actual, predicted)] = cost


def _gap(gate: GapGate, paired: PairedRows) -> Iterator[GateFigure]:
    names, places = paired.groups(gate.segment)
    figure = _rate(gate.metric, paired)
    large = [n for n in range(len(names)) if np.sum(places == n) >= gate.min_rows]
    name = f"largest gap of {gate.metric}"
    if len(large) < 2:
        note = f"fewer than two groups have {gate.min_rows} rows"
        yield GateFigure(name, None, "not enough data", note=note)
        return

    def gap(rows: LabelledRows, drawn: Array) -> float | None:
        chosen, groups = rows.select(drawn), places[drawn]
        figures = [figure(chosen.select(groups == n)) for n in large if np.any(groups == n)]
        values = [value for value in figures if value is not None]
        return max(values) - min(values) if len(values) == len(large) else None

    mine, theirs = paired.candidate, paired.champion
    compared = compare(
        len(paired),
        lambda drawn: gap(mine, drawn),
        None if theirs is None else lambda drawn: gap(theirs, drawn),
        lower_is_better=True,
    )
    by_name = {names[n]: figure(mine.select(places == n)) for n in large}
    for judged in _figures(gate, paired, name, compared, "", len(paired)):
        shown = ", ".join(f"{n} {v:.4g}" for n, v in by_name.items() if v is not None)
        yield judged if judged.note else replace(judged, note=shown)


def _rate(metric: str, paired: PairedRows) -> _Figure:
    if metric == "selection_rate":
        return lambda rows: float(np.mean(rows.predicted == rows.positive))
    if metric == "true_positive_rate":
        return _true_positive_rate
    return _metric(metric, paired)


def _true_positive_rate(rows: LabelledRows) -> float | None:
    positive = rows.actual == rows.positive
    if not positive.any():
        return None
    return float(np.mean(rows.predicted[positive] == rows.positive))


def _lower_is_better(gate: ScoredGate) -> bool:
    return isinstance(gate, CostGate) or getattr(gate, "metric", "") in ERRORS
