"""The gate of kind `replay`: runs candidate and champion on logged requests with labels."""

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
_ID = "\0id"  # column name that no feature can have


def check_replay(gate: ReplayGate, context: GateContext) -> GateOutcome:
    """Run both versions on logged rows; compare all predictions, and scores of labelled rows."""
    if fault := scored_fault(gate, context.candidate.manifest):
        return GateOutcome("", "replay", "failed", fault)
    context.progress("reading the log")
    rerun_manifests = {name: version.manifest for name, version in context.versions.items()}
    logged = read_logged_rows(
        context.log, context.candidate.model, context.manifests, rerun_manifests,
        period=Period.of(gate), most=gate.max_rows,
    )  # fmt: skip
    context.progress(logged.note)
    logged.frame[_ID] = logged.ids
    paired = evaluate(context, logged.frame, logged.labels)
    figures: list[GateFigure] = []
    examples: list[dict[str, Any]] = []
    if gate.agreement is not None:
        figures += _agreement(gate, paired)
    if paired.champion_predictions is not None:
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
    """Return the gate that judges labelled rows, or None if only predictions are compared."""
    shared = {field: getattr(gate, field) for field in ScoredGate.__struct_fields__}
    if gate.metric:
        return MetricGate(metric=gate.metric, at_least=gate.at_least, **shared)
    return CostGate(costs=gate.costs, **shared) if gate.costs else None


def _agreement(gate: ReplayGate, paired: PairedRows) -> Iterator[GateFigure]:
    """Yield the share of rows with equal predictions, over all rows or for each group."""
    name = "agreement with the champion"
    if paired.champion_predictions is None:
        no_champion = paired.no_champion_reason == NO_CHAMPION_NOTE
        outcome: GateVerdict = "passed" if no_champion else "not enough data"
        yield GateFigure(name, None, outcome, note=paired.no_champion_reason)
        return
    equal = _equal(gate, paired)
    groups: Sequence[tuple[str, Array]] = [("", np.arange(len(paired)))]
    if gate.segment:
        names, places = paired.groups(gate.segment)
        groups = [(group, np.flatnonzero(places == n)) for n, group in enumerate(names)]
    for group, rows in groups:
        if len(rows) < gate.min_rows:
            note = f"{len(rows)} rows; expected at least {gate.min_rows}"
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
    assert paired.champion_predictions is not None
    if paired.manifest.task == "regression":
        champion = np.asarray(paired.champion_predictions.score, dtype=float)
        near: Array = _difference(paired) <= gate.tolerance * (float(np.std(champion)) or 1.0)
        return near
    pairs = zip(
        paired.candidate_predictions.values, paired.champion_predictions.values, strict=True
    )
    return np.array([first == other for first, other in pairs], dtype=bool)


def _difference(paired: PairedRows) -> Array:
    """Return how far the predictions of each row differ: in probability, or as numbers."""
    candidate, champion = paired.candidate_predictions, paired.champion_predictions
    assert champion is not None
    if paired.manifest.task == "regression":
        assert candidate.score is not None
        assert champion.score is not None
        apart: Array = np.abs(candidate.score - champion.score)
        return apart
    shared = candidate.probabilities.keys() & champion.probabilities.keys()
    if not shared:
        pairs = zip(candidate.values, champion.values, strict=True)
        return np.array([float(first != other) for first, other in pairs])
    apart = np.zeros(len(paired))
    for name in shared:
        difference = np.abs(candidate.probabilities[name] - champion.probabilities[name])
        apart = np.maximum(apart, difference)
    return apart


def _worst(gate: ReplayGate, paired: PairedRows) -> list[dict[str, Any]]:
    """List the rows whose predictions differ most, with their prediction ids."""
    assert paired.champion_predictions is not None
    apart, differ = _difference(paired), ~_equal(gate, paired)
    order = [int(row) for row in np.argsort(-apart, kind="stable") if differ[row]]
    ids: list[RowId] = paired.frame[_ID].tolist()
    return [
        {
            "prediction_id": ids[row][0],
            "row": ids[row][1],
            "champion": paired.champion_predictions.values[row],
            "candidate": paired.candidate_predictions.values[row],
            "difference": round(float(apart[row]), 6),
            "label": "" if paired.labels[row] is None else paired.labels[row],
        }
        for row in order[: gate.worst]
    ]
