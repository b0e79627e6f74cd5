"""Decide whether requests of a version can share a run: their rows must be independent.

Registration decides by the names of dimensions and by trial runs (row_probe.py), and stores the
verdict next to the version in batching.json. A version of an earlier release has no such file;
workers then decide at load time, without trial runs for large models.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import onnxruntime
from msgspec.structs import replace

from registry.errors import InvalidManifest
from registry.features import signature, to_tensors
from registry.generated_rows import GENERATED_NAME, generate_rows
from registry.manifest import Manifest, Signature, Version
from registry.reference import first_rows, has_reference
from registry.row_probe import Arrays, ProbeFindings, Run, probe_rows
from registry.rows import FREE, batch_dimension

FILE = "batching.json"
_PROBED_AT_LOAD = 16 * 2**20  # bytes of a model without a record; a larger one would load slowly
_ROWS_AT_LOAD = 64
_GENERATED_ROWS = 64


class Node(Protocol):
    """An input or output as ONNX Runtime describes it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[Any]: ...


class Runnable(msgspec.Struct, frozen=True):
    """A loaded model: how to run it, and its tensors with the names of their dimensions."""

    run: Run  # all outputs by name
    inputs: Sequence[Node]
    outputs: Sequence[Node]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What speaks against running requests together; nothing where all is well."""

    faults: dict[str, str] = {}  # by output, e.g. "of a row changes with the other rows of a run"
    failure: str = ""  # of the model as a whole
    probed: bool = True  # by runs; False: by names of dimensions alone

    @property
    def reason(self) -> str:
        """A sentence's worth of it, empty where requests may run together."""
        return self.failure or "; ".join(f"output {n!r} {why}" for n, why in self.faults.items())

    def against_answers(self, manifest: Manifest) -> str:
        """What speaks against running rows of several requests for their prediction alone.

        Other outputs (a count, a matrix of all rows) have no bearing on it.
        """
        prediction = manifest.prediction
        named = {prediction.label, prediction.probabilities, prediction.scores}
        faults = {name: why for name, why in self.faults.items() if name in named}
        return replace(self, faults=faults).reason


INDEPENDENT = Verdict()


def runnable(session: onnxruntime.InferenceSession) -> Runnable:
    """A session as the probe takes it."""
    names = [output.name for output in session.get_outputs()]

    def run(feed: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return Runnable(run, session.get_inputs(), session.get_outputs())


def judge(model: Runnable, manifest: Manifest, rows: Arrays | None = None) -> Verdict:
    """The verdict on a model, by names and by running these rows of its reference.

    Without a reference it runs generated rows; if the model refuses them, names alone decide.
    """
    named = judge_names(model.inputs, model.outputs)
    if named.failure or batch_dimension(signature(manifest)) != FREE:
        return named
    if rows is None:
        found = _probe_generated(model, manifest)
        if found is None:
            return named
    else:
        found = probe_rows(model.run, rows, manifest.max_batch_size)
    return Verdict(found.faults | named.faults, found.failure)


def _probe_generated(model: Runnable, manifest: Manifest) -> ProbeFindings | None:
    """Probe the first generated rows that the model takes; None if it takes none."""
    for rows in generate_rows(model.inputs, _GENERATED_ROWS):
        try:
            for row in range(_GENERATED_ROWS):
                model.run({name: array[row : row + 1] for name, array in rows.items()})
        except Exception:  # noqa: BLE001, S112  # the model takes other values
            continue
        return probe_rows(model.run, rows, manifest.max_batch_size)
    return None


def judge_names(inputs: Sequence[Node], outputs: Sequence[Node]) -> Verdict:
    """The verdict of the names of dimensions alone; free dimensions without a name pass."""
    names = {node.name: name for node in inputs if (name := _stated(node.shape[:1]))}
    if len(set(names.values())) > 1:
        stated = ", ".join(f"{name!r} of {of!r}" for of, name in names.items())
        return Verdict(failure=f"inputs name different first dimensions: {stated}", probed=False)
    batch = next(iter(names.values()), "")
    faults = {node.name: why for node in outputs if (why := _fault(node.shape, batch))}
    return Verdict(faults, probed=False)


def _fault(shape: Sequence[Any], batch: str) -> str:
    own = _stated(shape[:1])
    if batch and own and own != batch:
        return f"has the first dimension {own!r}, where inputs have {batch!r}"
    if (repeated := batch or own) and repeated in shape[1:]:
        return f"has the dimension {repeated!r} of the rows a second time"
    return ""


def _stated(first: Sequence[Any]) -> str:
    """The name that the author gave a first dimension, empty where there is none."""
    name = first[0] if first else None
    return name if isinstance(name, str) and not GENERATED_NAME.fullmatch(name) else ""


def rows_are_free(stated: Signature) -> bool:
    """Whether requests can be merged at all: by a first dimension that every tensor leaves free."""
    return not _misfit(stated)


def one_by_one(manifest: Manifest, verdict: Verdict) -> str:
    """Why requests run one at a time, empty where they run together."""
    if misfit := _misfit(signature(manifest)):
        return misfit
    if manifest.batching == "off":
        return "the manifest states batching: off"
    return "" if manifest.batching == "trust" else verdict.reason


def _misfit(stated: Signature) -> str:
    size = batch_dimension(stated)
    if size is None:
        shapes = ", ".join(f"{spec.name!r} {spec.shape}" for spec in stated.inputs)
        return f"inputs have no batch dimension in common: {shapes}"
    if size != FREE:
        return f"every run has exactly {size} rows"
    for spec in stated.inputs:
        if spec.shape[:1] != [FREE]:
            return f"input {spec.name!r} has shape {spec.shape}, which fixes the number of rows"
    for spec in stated.outputs:
        if spec.shape[:1] != [FREE]:
            return f"output {spec.name!r} has shape {spec.shape}, which is not one row for each"
    return ""


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Store the verdict with a version's other files."""
    (folder / FILE).write_bytes(msgspec.json.encode(verdict))


def read_verdict(version: Version) -> Verdict | None:
    """The verdict stored with a version; None of one that an earlier release registered."""
    try:
        return msgspec.json.decode((Path(version.path) / FILE).read_bytes(), type=Verdict)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise InvalidManifest(
            f"stored version {version.number} of {version.model} is damaged: {FILE}: {error}"
        ) from None


def verdict_of(version: Version, model: Runnable) -> Verdict:
    """The stored verdict, else one found now; the same wherever it is asked for."""
    stored = read_verdict(version)
    if stored is not None:
        return stored
    if (Path(version.path) / "model.onnx").stat().st_size > _PROBED_AT_LOAD:
        return judge_names(model.inputs, model.outputs)
    if not has_reference(version):
        return judge(model, version.manifest)
    rows = to_tensors(version.manifest, first_rows(version, _ROWS_AT_LOAD))
    return judge(model, version.manifest, rows)


def explain(manifest: Manifest, verdict: Verdict) -> Iterator[str]:
    """What the author of a version is to know about how its requests run."""
    if reason := one_by_one(manifest, verdict):
        way_out = "; batching: trust in the manifest lets them share runs nevertheless"
        hint = way_out if reason == verdict.reason else ""
        yield f"requests run one at a time: {reason}{hint}"
    elif verdict.reason:
        yield f"requests share runs, as batching: trust states, although {verdict.reason}"
    elif not verdict.probed:
        yield (
            "requests share runs although no run has shown that their rows are independent: the "
            "model refuses generated rows; a reference lets registration find out, "
            "batching: off in the manifest keeps requests apart"
        )
