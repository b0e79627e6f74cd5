"""Gates on a version's outputs: expected outputs of golden requests, and finite numbers."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from driftline.gates.context import GateContext
from driftline.gates.random_rows import draw_rows
from registry.datatypes import NUMPY
from registry.errors import InvalidFeatures, InvalidModel, RegistryError
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.gates.outcomes import GateOutcome, at_most, of_figures
from registry.gates.specification import (
    AnswersGate,
    FiniteGate,
    GoldenRequest,
)
from registry.generated_rows import declared, generate_rows
from registry.manifest import Feature, Version
from registry.onnx_file import load
from registry.reference import bare_inputs, load_reference
from registry.reference_path import has_reference
from registry.signature import fixed_rows
from registry.stored_files import DATA, require_unchanged

Array = np.ndarray[Any, Any]
_SHOWN = 5  # maximum number of faulty rows or values in a report
_BATCH = 256  # maximum number of rows per run


def check_answers(gate: AnswersGate, context: GateContext) -> GateOutcome:
    """Run the golden requests and compare every output with the expected output."""
    run = ModelRun(context.candidate)
    wrong: list[dict[str, Any]] = []
    for place, request in enumerate(gate.requests, 1):
        context.progress(f"request {place} of {len(gate.requests)}")
        wrong += [{"request": place, "fault": fault} for fault in _faults(gate, run, request)]
    failed = len({fault["request"] for fault in wrong})
    figure = at_most("requests with other answers", float(failed), 0.0, rows=len(gate.requests))
    reason = f"request {wrong[0]['request']}: {wrong[0]['fault']}" if wrong else ""
    return GateOutcome("", "answers", figure.outcome, reason, [figure], wrong[:_SHOWN])


def _faults(gate: AnswersGate, run: "ModelRun", request: GoldenRequest) -> Iterator[str]:
    try:
        outputs = run.outputs(run.inputs(request.inputs), list(request.outputs))
    except RegistryError as error:
        yield str(error)
        return
    for name, expected in request.outputs.items():
        actual = outputs[name]
        target = np.array(expected, dtype=object if actual.dtype.kind in "OSU" else None)
        if target.shape != actual.shape:
            yield f"output {name!r} has shape {actual.shape}, expected {target.shape}"
        elif actual.dtype.kind in "OSU" or target.dtype.kind not in "biuf":
            values, targets = actual.tolist(), target.tolist()
            if values != targets:
                yield f"output {name!r} is {values!r:.200}, expected {targets!r:.200}"
        else:
            numbers = actual.astype(np.float64)
            near = np.isclose(numbers, target, gate.tolerance, gate.tolerance, equal_nan=True)
            if not near.all():
                at = np.unravel_index(int(np.argmin(near)), near.shape)
                position = list(map(int, at))
                yield f"output {name!r} is {numbers[at]:g} at {position}, expected {target[at]:g}"


def check_finite(gate: FiniteGate, context: GateContext) -> GateOutcome:
    """Run reference rows and random valid inputs; every number in the outputs must be finite."""
    version = context.candidate
    run = ModelRun(version)
    figures, examples = [], []
    for name, tensors, rows in _inputs(gate, version):
        context.progress(f"{rows} rows: {name}")
        faulty = _not_finite(run, tensors, rows)
        figures.append(
            at_most("rows not finite", float(len(faulty)), 0.0, group=f"{name} rows", rows=rows)
        )
        examples += [
            {"rows": name, "row": row, "output": output} for row, output in faulty.items()
        ][:_SHOWN]
    reason = "" if figures else "no reference rows and random_rows is 0"
    return GateOutcome("", "finite", of_figures(figures), reason, figures, examples)


def _inputs(gate: FiniteGate, version: Version) -> Iterator[tuple[str, Mapping[str, Array], int]]:
    manifest = version.manifest
    frame = load_reference(version) if has_reference(version) else None
    if frame is not None and manifest.features and not bare_inputs(manifest):
        yield "reference", to_tensors(manifest, _columns(manifest.features, frame)), len(frame)
        if gate.random_rows:
            drawn = draw_rows(manifest.features, frame, gate.random_rows)
            yield "random", to_tensors(manifest, drawn), gate.random_rows
    elif gate.random_rows:
        rows = fixed_rows(signature(manifest)) or gate.random_rows
        yield "random", next(generate_rows(declared(signature(manifest).inputs), rows)), rows


def _columns(features: list[Feature], frame: pd.DataFrame) -> dict[str, Any]:
    return {
        f.name: frame[f.name].to_numpy() if f.kind == "numeric" else frame[f.name].tolist()
        for f in features
    }


def _not_finite(run: "ModelRun", tensors: Mapping[str, Array], rows: int) -> dict[int, str]:
    """Return the rows with an output that is not finite, each with the output's name."""
    faulty: dict[int, str] = {}
    names = [spec.name for spec in signature(run.manifest).outputs]
    size = fixed_rows(signature(run.manifest)) or min(run.manifest.max_batch_size, _BATCH)
    for start in range(0, rows, size):
        part = {name: array[start : start + size] for name, array in tensors.items()}
        real_rows = min(size, rows - start)
        if real_rows < size and fixed_rows(signature(run.manifest)):
            part = {n: np.resize(array, (size, *array.shape[1:])) for n, array in part.items()}
        for name, array in run.outputs(part, names).items():
            if array.dtype.kind == "f":
                per_row = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
                for row in np.flatnonzero(~np.isfinite(per_row).all(axis=1)):
                    if row < real_rows:
                        faulty.setdefault(start + int(row), name)
    return faulty


class ModelRun:
    """A version's session, run on inputs as nested lists or tensors."""

    def __init__(self, version: Version) -> None:
        require_unchanged(version, "model.onnx", DATA)
        self.manifest = version.manifest
        self._session = load(
            (Path(version.path) / "model.onnx").read_bytes(),
            threads=1,
            extensions=version.manifest.session.extensions,
            folder=Path(version.path),
        )

    def inputs(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Convert nested lists to the model's input tensors; raises InvalidFeatures."""
        specs = {spec.name: spec for spec in signature(self.manifest).inputs}
        if inputs.keys() != specs.keys():
            raise InvalidFeatures(
                f"inputs are {', '.join(inputs) or 'none'}; expected {', '.join(specs)}"
            )
        try:
            return {name: _tensor(specs[name].datatype, value) for name, value in inputs.items()}
        except (TypeError, ValueError) as error:
            raise InvalidFeatures(f"inputs are not tensors: {error}") from None

    def answer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run the model; inputs and outputs are nested lists. Raises a RegistryError."""
        names = [spec.name for spec in signature(self.manifest).outputs]
        outputs = self.outputs(self.inputs(inputs), names)
        return {name: _plain(array.tolist()) for name, array in outputs.items()}

    def outputs(self, tensors: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
        """Run the model and return the named outputs; raises InvalidModel."""
        output_names = [spec.name for spec in signature(self.manifest).outputs]
        if unknown := [name for name in names if name not in output_names]:
            raise InvalidModel(f"no output {unknown[0]!r}; expected {', '.join(output_names)}")
        try:
            arrays = self._session.run(names, dict(tensors))
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors have no common base
            raise InvalidModel(f"the model fails: {' '.join(str(error).split())}") from None
        return dict(zip(names, map(np.asarray, arrays), strict=True))


def _plain(value: Any) -> Any:
    """Replace values that JSON cannot represent: NaN by null, bytes by text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if value != value else value  # noqa: PLR0124


def _tensor(datatype: str, value: Any) -> Array:
    array: Array = np.array(value, dtype=NUMPY[datatype])
    return array
