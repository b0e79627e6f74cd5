"""The gate of kind `replay`: candidate and champion on logged requests and their labels."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext
from driftline.gates.logged_rows import RowId, read_logged_rows
from driftline.gates.paired_rows import PairedRows, evaluate
from driftline.gates.scores import judge
from driftline.logged_periods import Period
from registry.gates.comparison import Measure, compare, judge_limit
from registry.gates.fit import scored_fault
from registry.gates.outcomes import GateFigure, GateOutcome, of_figures
from registry.gates.specification import CostGate, MetricGate, ReplayGate, ScoredGate
from registry.history.rows import GateVerdict

Array = np.ndarray[Any, Any]
_ID = "\0id"  # no feature has this name


def check_replay(gate: ReplayGate, context: GateContext) -> GateOutcome:
    """Run both versions on logged rows; compare predictions, and scores where there are labels."""
    if fault := scored_fault(gate, context.candidate.manifest):
        return GateOutcome("", "replay", "failed", fault)
    context.progress("reading the log")
    takers = {name: version.manifest for name, version in context.versions.items()}
    logged = read_logged_rows(
        context.log, context.candidate.model, context.manifests, takers,
        period=Period.of(gate), most=gate.max_rows,
    )  # fmt: skip
    context.progress(logged.note)
    logged.frame[_ID] = logged.ids
    paired = evaluate(context, logged.frame, logged.labels)
    figures: list[GateFigure] = []
    examples: list[dict[str, Any]] = []
    if gate.agreement is not None:
        figures += _agreement(gate, paired)
    if paired.theirs is not None:
        examples = _worst(gate, paired)
    if (scored := _scored(gate)) is not None:
        labelled = np.array([label is not None for label in paired.labels], dtype=bool)
        context.progress(f"{int(labelled.sum()):,} labelled rows")
        figures += judge(scored, paired.where(labelled))
    compared = gate.agreement is not None or gate.worse_by is not None
    return GateOutcome(
        "", "replay", of_figures(figures), logged.note, figures, examples,
        against_champion=compared,
    )  # fmt: skip


def _scored(gate: ReplayGate) -> ScoredGate | None:
    """Return the gate of the figures of labelled rows, None if only predictions are compared."""
    shared = {field: getattr(gate, field) for field in ScoredGate.__struct_fields__}
    if gate.metric:
        return MetricGate(metric=gate.metric, at_least=gate.at_least, **shared)
    return CostGate(costs=gate.costs, **shared) if gate.costs else None


def _agreement(gate: ReplayGate, paired: PairedRows) -> Iterator[GateFigure]:
    """Yield the share of rows with equal predictions, of all rows or of each group."""
    name = "agreement with the champion"
    if paired.theirs is None:
        alone = paired.why_alone == NO_CHAMPION_NOTE
        outcome: GateVerdict = "passed" if alone else "not enough data"
        yield GateFigure(name, None, outcome, note=paired.why_alone)
        return
    equal = _equal(gate, paired)
    groups: Sequence[tuple[str, Array]] = [("", np.arange(len(paired)))]
    if gate.segment:
        names, places = paired.groups(gate.segment)
        groups = [(group, np.flatnonzero(places == n)) for n, group in enumerate(names)]
    for group, rows in groups:
        if len(rows) < gate.min_rows:
            note = f"{len(rows)} rows, at least {gate.min_rows} are needed"
            yield GateFigure(name, None, "not enough data", group=group, rows=len(rows), note=note)
            continue
        part = equal[rows]
        interval = compare(len(rows), _share_of(part)).candidate
        yield GateFigure(
            name, interval.value, judge_limit(interval, gate.agreement, None, gate.by),
            gate.agreement, low=interval.low, high=interval.high, group=group, rows=len(rows),
        )  # fmt: skip


def _share_of(equal: Array) -> Measure:
    return lambda drawn: float(equal[drawn].mean())


def _equal(gate: ReplayGate, paired: PairedRows) -> Array:
    assert paired.theirs is not None
    if paired.manifest.task == "regression":
        theirs = np.asarray(paired.theirs.score, dtype=float)
        near: Array = _difference(paired) <= gate.tolerance * (float(np.std(theirs)) or 1.0)
        return near
    pairs = zip(paired.mine.values, paired.theirs.values, strict=True)
    return np.array([first == other for first, other in pairs], dtype=bool)


def _difference(paired: PairedRows) -> Array:
    """Return the difference of both predictions of each row, in probability or as numbers."""
    mine, theirs = paired.mine, paired.theirs
    assert theirs is not None
    if paired.manifest.task == "regression":
        assert mine.score is not None
        assert theirs.score is not None
        apart: Array = np.abs(mine.score - theirs.score)
        return apart
    shared = mine.probabilities.keys() & theirs.probabilities.keys()
    if not shared:
        pairs = zip(mine.values, theirs.values, strict=True)
        return np.array([float(first != other) for first, other in pairs])
    apart = np.zeros(len(paired))
    for name in shared:
        difference = np.abs(mine.probabilities[name] - theirs.probabilities[name])
        apart = np.maximum(apart, difference)
    return apart


def _worst(gate: ReplayGate, paired: PairedRows) -> list[dict[str, Any]]:
    """List the rows whose predictions differ most, by their prediction id."""
    assert paired.theirs is not None
    apart, differ = _difference(paired), ~_equal(gate, paired)
    order = [int(row) for row in np.argsort(-apart, kind="stable") if differ[row]]
    ids: list[RowId] = paired.frame[_ID].tolist()
    return [
        {
            "prediction_id": ids[row][0],
            "row": ids[row][1],
            "champion": paired.theirs.values[row],
            "candidate": paired.mine.values[row],
            "difference": round(float(apart[row]), 6),
            "label": "" if paired.labels[row] is None else paired.labels[row],
        }
        for row in order[: gate.worst]
    ]
