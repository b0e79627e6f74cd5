"""The gate of kind `data`: the candidate's reference compared with the champion's."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext, NotEnoughData
from monitoring.scoring.drift.statistics import jensenshannon, wasserstein
from monitoring.scoring.reference import Baseline, Column, comparable
from registry.gates.outcomes import GateFigure, GateOutcome, at_most, of_figures
from registry.gates.specification import DataGate
from registry.manifest import Feature, Kind, Version
from registry.reference_path import has_reference


def check_data(gate: DataGate, context: GateContext) -> GateOutcome:
    """Compare columns, ranges and distributions."""
    champion = context.champion
    if champion is None:
        return GateOutcome("", "data", "passed", NO_CHAMPION_NOTE, against_champion=True)
    mine, theirs = _baseline(context.candidate, gate), _baseline(champion, gate)
    figures = [_schema(gate, mine, theirs)]
    for column in _shared(mine, theirs):
        context.progress(column.name)
        figures += _column(gate, column, mine.frame[column.name], theirs.frame[column.name])
    return GateOutcome("", "data", of_figures(figures), "", figures, against_champion=True)


def _baseline(version: Version, gate: DataGate) -> Baseline:
    if not has_reference(version):
        raise NotEnoughData(f"version {version.number} was registered without a reference")
    baseline = Baseline(version)
    if len(baseline.frame) < gate.min_rows:
        raise NotEnoughData(
            f"the reference of version {version.number} has {len(baseline.frame)} rows, at least "
            f"{gate.min_rows} are needed"
        )
    return baseline


def _schema(gate: DataGate, mine: Baseline, theirs: Baseline) -> GateFigure:
    """Count the features that the schema does not allow."""
    new, old = _features(mine), _features(theirs)
    changed = [f"{name} is {new[name].kind}" for name in old.keys() & new.keys()
               if old[name].kind != new[name].kind]  # fmt: skip
    missing = [f"{name} is missing" for name in old.keys() - new.keys()]
    added = [f"{name} is new" for name in new.keys() - old.keys()]
    faults = {"same": changed + missing + added, "superset": changed + missing, "any": []}
    faults_found = sorted(faults[gate.schema])
    return at_most("other features", float(len(faults_found)), 0.0, note=", ".join(faults_found))


def _features(baseline: Baseline) -> dict[str, Feature]:
    return {feature.name: feature for feature in baseline.manifest.features}


def _shared(mine: Baseline, theirs: Baseline) -> Iterator[Column]:
    """Yield the features that both have, then the target."""
    new, old = _features(mine), _features(theirs)
    for name, feature in new.items():
        if name in old and old[name].kind == feature.kind and feature.monitor:
            yield Column(name, feature.kind, name)
    target = mine.manifest.target
    if target and target == theirs.manifest.target and target in mine.frame:
        kind: Kind = "numeric" if mine.manifest.task == "regression" else "categorical"
        if target in theirs.frame:
            yield Column(target, kind, target)


def _column(
    gate: DataGate, column: Column, mine: "pd.Series[Any]", theirs: "pd.Series[Any]"
) -> Iterator[GateFigure]:
    new, old = comparable(mine, column).dropna(), comparable(theirs, column).dropna()
    if len(new) < gate.min_rows or len(old) < gate.min_rows:
        note = f"fewer than {gate.min_rows} values"
        yield GateFigure("drift", None, "not enough data", group=column.name, note=note)
        return
    if column.kind == "numeric":
        old_numbers, other = old.to_numpy(float), new.to_numpy(float)
        outside = float(np.mean((other < old_numbers.min()) | (other > old_numbers.max())))
        distance = wasserstein(old_numbers, other)
    else:
        outside = float(1 - new.isin(set(old)).mean())
        codes, _ = pd.factorize(pd.concat([old, new]))
        distance = jensenshannon(codes[: len(old)], codes[len(old) :])
    rows = len(new)
    yield at_most(
        "share out of range", round(outside, 6), gate.out_of_range, group=column.name, rows=rows
    )
    yield at_most("drift", round(distance, 6), gate.drift, group=column.name, rows=rows)
