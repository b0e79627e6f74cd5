"""The report of a registration: the version, its monitoring, and options that would add more."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.batching import INDEPENDENT, explain, one_by_one, read_verdict
from registry.features import signature
from registry.inference_record import read_inference
from registry.manifest import Manifest, TensorSpec, Version
from registry.reference_path import has_reference
from registry.rows import FREE, batch_dimension

Line = tuple[str, str]  # a heading and its text
_SHOWN = 6  # maximum number of names in a list
_DAY = 86_400  # seconds
_WEEKDAYS = ("Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday")


def describe(version: Version) -> Iterator[Line]:
    """Yield the lines of the report: signature, batches, task, monitoring, and open questions."""
    manifest = version.manifest
    model_signature = signature(manifest)
    yield "inputs", "\n".join(_tensor(spec) for spec in model_signature.inputs)
    if model_signature.optional:
        yield "optional", "\n".join(_tensor(spec) for spec in model_signature.optional)
    yield "outputs", "\n".join(_tensor(spec) for spec in model_signature.outputs)
    yield "batches", _batches(version)
    yield "kind", _kind(manifest)
    yield "monitored", "\n".join(_monitored(version))
    if weeks := _weeks(manifest):
        yield "windows", weeks
    if unmonitored := list(_not_monitored(version)):
        yield "not monitored", "\n".join(unmonitored)
    inference = read_inference(Path(version.path))
    if inference.changes:
        yield "changed", "\n".join(inference.changes)
    for question in inference.questions:
        yield "question", question


def _tensor(spec: TensorSpec) -> str:
    sizes = ", ".join("any" if size == FREE else str(size) for size in spec.shape)
    return f"{spec.name}: {spec.datatype} [{sizes}]"


def _batches(version: Version) -> str:
    manifest, verdict = version.manifest, read_verdict(version) or INDEPENDENT
    if batch_dimension(signature(manifest)) is None:
        return "no batch dimension: each request is one row and one run"
    if one_by_one(manifest, verdict):
        return "\n".join(explain(manifest, verdict))
    shared = f"requests share runs of up to {manifest.max_batch_size} rows"
    return "\n".join([shared, *explain(manifest, verdict)])


def _kind(manifest: Manifest) -> str:
    prediction = manifest.prediction
    if manifest.task == "other":
        return "other: outputs are monitored through summaries"
    output = prediction.scores or prediction.probabilities or prediction.label
    if manifest.task == "regression":
        return f"regression, predicted by output {output!r}"
    classes = f" of {_listed(list(map(str, prediction.classes)))}" if prediction.classes else ""
    return f"classification{classes}, by output {output!r}"


def _monitored(version: Version) -> Iterator[str]:
    manifest = version.manifest
    yield "requests, latency, errors"
    if manifest.features:
        names = [feature.name for feature in manifest.features]
        yield f"{len(names)} feature{'s' * (len(names) > 1)}: {_listed(names)}"
    if manifest.summaries:
        names = [summary.name for summary in manifest.summaries]
        yield f"{len(names)} summaries: {_listed(names)}"
    if has_reference(version):
        yield "drift from the first window, against the reference"
    else:
        baseline = manifest.monitoring.baseline
        yield (
            f"drift, after {baseline.windows} windows of production with {baseline.min_rows:,} "
            "rows have become the baseline"
        )
    if manifest.task != "other" and manifest.target and has_reference(version):
        yield f"performance, by labels of {manifest.target!r}"


def _weeks(manifest: Manifest) -> str:
    """Return the weekday on which windows of whole weeks begin, "" for other window lengths."""
    window = manifest.monitoring.window
    if window.length is None or window.length % (7 * _DAY):
        return ""
    day = _WEEKDAYS[window.offset // _DAY % 7]
    if window.offset:
        return f"{window.length // _DAY} days, from a {day} on"
    return (
        f"{window.length // _DAY} days, from a {day} on, like the Unix epoch; with "
        f"monitoring.window.offset: {4 * _DAY} they begin on Mondays"
    )


def _not_monitored(version: Version) -> Iterator[str]:
    manifest = version.manifest
    if not has_reference(version):
        yield "drift from the first window: --reference FILE adds it"
    if manifest.task == "other":
        yield "performance: --reference FILE --target COLUMN adds it"
    elif not (manifest.target and has_reference(version)):
        yield "estimated performance: --reference FILE --target COLUMN adds it"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
