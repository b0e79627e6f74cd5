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
    """Compare columns, ranges and distributions of both references."""
    champion_version = context.champion
    if champion_version is None:
        return GateOutcome("", "data", "passed", NO_CHAMPION_NOTE, against_champion=True)
    candidate = _baseline(context.candidate, gate)
    champion = _baseline(champion_version, gate)
    figures = [_schema(gate, candidate, champion)]
    for column in _shared(candidate, champion):
        context.progress(column.name)
        figures += _column(gate, column, candidate.frame[column.name], champion.frame[column.name])
    return GateOutcome("", "data", of_figures(figures), "", figures, against_champion=True)


def _baseline(version: Version, gate: DataGate) -> Baseline:
    if not has_reference(version):
        raise NotEnoughData(f"version {version.number} was registered without a reference")
    baseline = Baseline(version)
    if len(baseline.frame) < gate.min_rows:
        raise NotEnoughData(
            f"the reference of version {version.number} has {len(baseline.frame)} rows; expected "
            f"at least {gate.min_rows}"
        )
    return baseline


def _schema(gate: DataGate, candidate: Baseline, champion: Baseline) -> GateFigure:
    """Count the features that differ in a way that `gate.schema` does not allow."""
    new, old = _features(candidate), _features(champion)
    changed = [f"{name} is {new[name].kind}" for name in old.keys() & new.keys()
               if old[name].kind != new[name].kind]  # fmt: skip
    missing = [f"{name} is missing" for name in old.keys() - new.keys()]
    added = [f"{name} is new" for name in new.keys() - old.keys()]
    faults = {"same": changed + missing + added, "superset": changed + missing, "any": []}
    differences = sorted(faults[gate.schema])
    return at_most("other features", float(len(differences)), 0.0, note=", ".join(differences))


def _features(baseline: Baseline) -> dict[str, Feature]:
    return {feature.name: feature for feature in baseline.manifest.features}


def _shared(candidate: Baseline, champion: Baseline) -> Iterator[Column]:
    """Yield the features that both references have, then the target if both have it."""
    new, old = _features(candidate), _features(champion)
    for name, feature in new.items():
        if name in old and old[name].kind == feature.kind and feature.monitor:
            yield Column(name, feature.kind, name)
    target = candidate.manifest.target
    if target and target == champion.manifest.target and target in candidate.frame:
        kind: Kind = "numeric" if candidate.manifest.task == "regression" else "categorical"
        if target in champion.frame:
            yield Column(target, kind, target)


def _column(
    gate: DataGate, column: Column, candidate: "pd.Series[Any]", champion: "pd.Series[Any]"
) -> Iterator[GateFigure]:
    new, old = comparable(candidate, column).dropna(), comparable(champion, column).dropna()
    if len(new) < gate.min_rows or len(old) < gate.min_rows:
        note = f"fewer than {gate.min_rows} values"
        yield GateFigure("drift", None, "not enough data", group=column.name, note=note)
        return
    if column.kind == "numeric":
        old_numbers, new_numbers = old.to_numpy(float), new.to_numpy(float)
        low, high = old_numbers.min(), old_numbers.max()
        outside = float(np.mean((new_numbers < low) | (new_numbers > high)))
        distance = wasserstein(old_numbers, new_numbers)
    else:
        outside = float(1 - new.isin(set(old)).mean())
        codes, _ = pd.factorize(pd.concat([old, new]))
        distance = jensenshannon(codes[: len(old)], codes[len(old) :])
    rows = len(new)
    yield at_most(
        "share out of range", round(outside, 6), gate.out_of_range, group=column.name, rows=rows
    )
    yield at_most("drift", round(distance, 6), gate.drift, group=column.name, rows=rows)
