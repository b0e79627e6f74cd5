"""Check that gates fit a version: its metrics, the groups of its segments, and its classes."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from registry.errors import InvalidGates, InvalidManifest
from registry.gates.specification import RATES, CostGate, Gate, ReplayGate, ScoredGate
from registry.gates.stated_gates import meant
from registry.manifest import Manifest
from registry.validation import check_segments, computed_scores


def check_fit(gates: Mapping[str, Gate], manifest: Manifest) -> None:
    """Raise InvalidGates, with the reason, for the first gate that a version can never pass."""
    for name, gate in gates.items():
        if isinstance(gate, ScoredGate) and (fault := scored_fault(gate, manifest)):
            raise InvalidGates(f"gate {name}: {fault}")


def scored_fault(gate: ScoredGate, manifest: Manifest) -> str:
    """Return why the gate's figure cannot be computed for a version, or "" if it can."""
    score_names = computed_scores(manifest, manifest.prediction)
    if isinstance(gate, ReplayGate) and not gate.metric and not gate.costs:
        return "" if score_names else "the version has no prediction to compare (task)"
    if not score_names or not manifest.target:
        return "the version has no prediction to compare with labels (task, target)"
    return _metric_fault(gate, manifest, score_names) or _segment_fault(gate, manifest)


def _metric_fault(gate: ScoredGate, manifest: Manifest, score_names: list[str]) -> str:
    metric: Any = getattr(gate, "metric", "")
    binary = manifest.prediction.positive is not None and len(manifest.prediction.classes) == 2
    if metric in RATES:
        return "" if binary else f"{metric} needs two classes and prediction.positive"
    if metric and metric not in score_names:
        return f"metric {metric!r} is not computed for this model{meant(metric, score_names)}"
    if isinstance(gate, CostGate):
        if manifest.task != "classification":
            return "costs need classes, so task: classification"
        if any(not isinstance(cost, dict) for cost in gate.costs.values()):
            return "" if binary else "costs such as false_negative need prediction.positive"
        classes = [str(class_) for class_ in manifest.prediction.classes]
        cost_classes = [
            *gate.costs,
            *(n for cost in gate.costs.values() if isinstance(cost, dict) for n in cost),
        ]
        unknown = [class_ for class_ in cost_classes if class_ not in classes]
        return f"costs: unknown class {unknown[0]!r}{meant(unknown[0], classes)}" if unknown else ""
    return ""


def _segment_fault(gate: ScoredGate, manifest: Manifest) -> str:
    if not gate.segment:
        return ""
    monitoring = replace(manifest.monitoring, segments=[gate.segment])
    try:
        check_segments(replace(manifest, monitoring=monitoring))
    except InvalidManifest as error:
        return str(error).replace("monitoring.segments", "segment")
    return ""
