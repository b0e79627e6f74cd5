"""Gates on the content of a version: the size of its file and its lineage."""

from pathlib import Path

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext
from registry.gates.outcomes import GateFigure, GateOutcome, at_most, of_figures
from registry.gates.specification import LineageGate, SizeGate
from registry.manifest import Version
from registry.stored_files import data_size


def check_size(gate: SizeGate, context: GateContext) -> GateOutcome:
    """Compare the size of the model file with its limits."""
    sizes = {name: _megabytes(version) for name, version in context.versions.items()}
    size, champion = sizes["candidate"], sizes.get("champion")
    figures = [at_most("size in MB", size, gate.at_most_mb, champion=champion)]
    if gate.ratio is not None:
        name = "size in MB, ratio"
        figures.append(
            at_most(name, round(size / champion, 6), gate.ratio)
            if champion is not None
            else GateFigure(name, None, "passed", note=NO_CHAMPION_NOTE)
        )
    compared = gate.ratio is not None
    return GateOutcome("", "size", of_figures(figures), "", figures, against_champion=compared)


def check_lineage(gate: LineageGate, context: GateContext) -> GateOutcome:
    """Check that the manifest's lineage has the required fields."""
    lineage = context.candidate.manifest.lineage
    missing = [field for field in gate.fields if not lineage.get(field, "").strip()]
    if missing:
        reason = f"lineage lacks {', '.join(missing)}; it has {', '.join(lineage) or 'no field'}"
        return GateOutcome("", "lineage", "failed", reason)
    return GateOutcome("", "lineage", "passed")


def _megabytes(version: Version) -> float:
    folder = Path(version.path)
    return round(((folder / "model.onnx").stat().st_size + data_size(folder)) / 1e6, 6)
