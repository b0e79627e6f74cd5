"""Decide whether requests of a version can share a run, which requires independent rows.

Registration decides by the names of dimensions and by trial runs (row_probe.py), and stores the
verdict in the version's batching.json. Versions of earlier releases have no such file. Workers
decide when they load such a version, without trial runs if the model is large.
"""

import time
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
from msgspec.structs import replace

from registry.errors import InvalidManifest
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.generated_rows import GENERATED_NAME, Node, generate_rows
from registry.manifest import Manifest, Signature, Version
from registry.reference import first_rows
from registry.reference_path import has_reference
from registry.row_probe import Arrays, ProbeFindings, Run, probe_rows
from registry.rows import FREE, batch_dimension

FILE = "batching.json"
PROBED_AT_LOAD = 16 * 2**20  # bytes; larger models run no trials at load, which would be slow
_ROWS_AT_LOAD = 64
_GENERATED_ROWS = 64


class Runnable(msgspec.Struct, frozen=True):
    """A loaded model: its run function, and its inputs and outputs with names of dimensions."""

    run: Run  # inputs by name -> all outputs by name
    inputs: Sequence[Node]
    outputs: Sequence[Node]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reasons why requests cannot share a run; empty if they can."""

    faults: dict[str, str] = {}  # output -> fault
    failure: str = ""  # fault of the model as a whole
    probed: bool = True  # whether trial runs were made; otherwise, only names were checked

    @property
    def reason(self) -> str:
        """Return the failure or all faults in one line, or "" if requests can share a run."""
        return self.failure or "; ".join(f"output {n!r} {why}" for n, why in self.faults.items())

    def against_answers(self, manifest: Manifest) -> str:
        """Return why requests cannot share a run that computes only the prediction, or "".

        Faults of other outputs, such as the number of rows, do not matter.
        """
        prediction = manifest.prediction
        prediction_outputs = {prediction.label, prediction.probabilities, prediction.scores}
        faults = {name: why for name, why in self.faults.items() if name in prediction_outputs}
        return replace(self, faults=faults).reason


INDEPENDENT = Verdict()


def runnable(session: onnxruntime.InferenceSession) -> Runnable:
    """Wrap a session for the probe."""
    names = [output.name for output in session.get_outputs()]

    def run(feed: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return Runnable(run, session.get_inputs(), session.get_outputs())


def judge(
    model: Runnable, manifest: Manifest, rows: Arrays | None = None, *, seconds: float = inf
) -> Verdict:
    """Judge a model by its names of dimensions and by trial runs on `rows` of its reference.

    If `rows` is None, generated rows are used. If the model refuses these, only the names decide.
    If the trial runs take longer than `seconds`, requests cannot share a run.
    """
    by_names = judge_names(model.inputs, model.outputs)
    if by_names.failure or batch_dimension(signature(manifest)) != FREE:
        return by_names
    limited = replace(model, run=_limited(model.run, seconds))
    try:
        if rows is None:
            probed = _probe_generated(limited, manifest)
            if probed is None:
                return by_names
        else:
            probed = probe_rows(limited.run, rows, manifest.max_batch_size)
    except _OutOfTime:
        return Verdict(
            by_names.faults, f"trial runs took longer than {seconds:.0f} s", probed=False
        )
    return Verdict(probed.faults | by_names.faults, probed.failure)


class _OutOfTime(BaseException):
    """Trial runs took too long. An Exception would be counted as a failed run of the model."""


def _limited(run: Run, seconds: float) -> Run:
    """Return a run function that raises _OutOfTime after `seconds` from now."""
    deadline = time.monotonic() + seconds

    def limited(inputs: Arrays) -> Arrays:
        if time.monotonic() > deadline:
            raise _OutOfTime
        return run(inputs)

    return limited


def _probe_generated(model: Runnable, manifest: Manifest) -> ProbeFindings | None:
    """Probe the first generated rows that the model accepts; return None if it accepts none."""
    for rows in generate_rows(model.inputs, _GENERATED_ROWS):
        try:
            for row in range(_GENERATED_ROWS):
                model.run({name: array[row : row + 1] for name, array in rows.items()})
        except Exception:  # noqa: BLE001, S112  # the model needs other values
            continue
        return probe_rows(model.run, rows, manifest.max_batch_size)
    return None


def judge_names(inputs: Sequence[Node], outputs: Sequence[Node]) -> Verdict:
    """Judge a model only by its names of dimensions; unnamed free dimensions pass."""
    names = {node.name: name for node in inputs if (name := _dimension_name(node.shape[:1]))}
    if len(set(names.values())) > 1:
        dimensions = ", ".join(f"{name!r} of {of!r}" for of, name in names.items())
        return Verdict(
            failure=f"inputs have different first dimensions: {dimensions}", probed=False
        )
    batch = next(iter(names.values()), "")
    faults = {node.name: why for node in outputs if (why := _fault(node.shape, batch))}
    return Verdict(faults, probed=False)


def _fault(shape: Sequence[Any], batch: str) -> str:
    own = _dimension_name(shape[:1])
    if batch and own and own != batch:
        return f"has the first dimension {own!r}, but inputs have {batch!r}"
    if (repeated := batch or own) and repeated in shape[1:]:
        return f"has the row dimension {repeated!r} twice"
    return ""


def _dimension_name(first: Sequence[Any]) -> str:
    """Return the name of a first dimension, or "" if it has no name."""
    name = first[0] if first else None
    return name if isinstance(name, str) and not GENERATED_NAME.fullmatch(name) else ""


def rows_are_free(model_signature: Signature) -> bool:
    """Return whether the first dimension of every tensor is free, as merging requests requires."""
    return not _misfit(model_signature)


def one_by_one(manifest: Manifest, verdict: Verdict) -> str:
    """Return why requests run one at a time, or "" if they share runs."""
    if misfit := _misfit(signature(manifest)):
        return misfit
    if manifest.batching == "off":
        return "the manifest states batching: off"
    return "" if manifest.batching == "trust" else verdict.reason


def _misfit(model_signature: Signature) -> str:
    size = batch_dimension(model_signature)
    if size is None:
        shapes = ", ".join(f"{spec.name!r} {spec.shape}" for spec in model_signature.inputs)
        return f"inputs have no batch dimension in common: {shapes}"
    if size != FREE:
        return f"every run has exactly {size} rows"
    for spec in model_signature.inputs:
        if spec.shape[:1] != [FREE]:
            return f"input {spec.name!r} has shape {spec.shape}, which fixes the number of rows"
    for spec in model_signature.outputs:
        if spec.shape[:1] != [FREE]:
            return f"output {spec.name!r} has shape {spec.shape}, which has no free number of rows"
    return ""


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Write the verdict into a version's folder."""
    (folder / FILE).write_bytes(msgspec.json.encode(verdict))


def read_verdict(version: Version) -> Verdict | None:
    """Return the stored verdict of a version, or None if an earlier release registered it.

    Raises InvalidManifest if the file is damaged.
    """
    try:
        return msgspec.json.decode((Path(version.path) / FILE).read_bytes(), type=Verdict)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise InvalidManifest(
            f"stored version {version.number} of {version.model} is damaged: {FILE}: {error}"
        ) from None


def verdict_of(version: Version, model: Runnable) -> Verdict:
    """Return the stored verdict or judge the model now; all processes get the same result."""
    stored = read_verdict(version)
    if stored is not None:
        return stored
    if (Path(version.path) / "model.onnx").stat().st_size > PROBED_AT_LOAD:
        return judge_names(model.inputs, model.outputs)
    if not has_reference(version):
        return judge(model, version.manifest)
    rows = to_tensors(version.manifest, first_rows(version, _ROWS_AT_LOAD))
    return judge(model, version.manifest, rows)


def explain(manifest: Manifest, verdict: Verdict) -> Iterator[str]:
    """Yield notes for the version's author on how its requests run."""
    if reason := one_by_one(manifest, verdict):
        way_out = "; to share runs nevertheless, state batching: trust in the manifest"
        hint = way_out if reason == verdict.reason else ""
        yield f"requests run one at a time: {reason}{hint}"
    elif verdict.reason:
        yield f"requests share runs, as batching: trust states, although {verdict.reason}"
    elif not verdict.probed:
        yield (
            "requests share runs, but it was not verified that rows are independent, because the "
            "model refuses generated rows; register a reference to verify it, or state "
            "batching: off in the manifest to run requests separately"
        )
