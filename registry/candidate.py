"""Prepare a version from an ONNX file, a manifest and a reference: infer, complete, check."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
from msgspec.structs import replace
from onnx import ModelProto

from registry.encoded_files import Files, file_inputs, uses_extensions
from registry.errors import InvalidManifest, InvalidReference
from registry.generated_rows import generated_answers
from registry.graph_repair import correct_shapes, repair
from registry.hints import read_hints
from registry.inference import (
    Hints,
    held_out_question,
    infer_features,
    infer_prediction,
)
from registry.inference_record import Inference
from registry.manifest import Feature, Manifest, Prediction, Signature, Task
from registry.manifest_file import to_manifest
from registry.onnx_file import check, load, parse
from registry.reference import sample_tensors, values_of
from registry.reference_file import with_feature_columns
from registry.reference_times import EVENT_TIME, holds_times
from registry.signature import optional_inputs_question, read_signature, with_widths
from registry.validation import complete

Array = np.ndarray[Any, Any]
Fields = Mapping[str, Any]  # fields of a manifest as its author states them
_GENERATED_ROWS = 16


class Candidate(NamedTuple):
    """A version before it is stored."""

    onnx: bytes  # ONNX file that will be served
    session: onnxruntime.InferenceSession
    manifest: Manifest  # completed, except for classes that only the reference contains
    reference: pd.DataFrame | None  # has a column for each feature
    inference: Inference


def prepare(
    onnx: bytes,
    fields: Fields,
    reference: pd.DataFrame | None,
    *,
    target: str = "",
    folder: Path | None = None,
) -> Candidate:
    """Infer missing fields and complete the manifest; raises a RegistryError for any fault.

    `target` names the reference's column of labels, unless the manifest does. `folder` can contain
    the model's external data.
    """
    manifest = _with_target(to_manifest(fields), target)
    proto = parse(onnx)
    check(proto, folder)
    inference = Inference()
    manifest = _with_extensions(manifest, fields, proto, inference)
    served, session = _served(onnx, manifest, inference, folder)
    files = file_inputs(served)
    model_signature, hints = read_signature(session, manifest.optional_inputs), read_hints(proto)
    if question := optional_inputs_question(session, manifest.optional_inputs):
        inference.questions.append(question)
    if reference is not None:
        reference = with_feature_columns(
            reference, model_signature, manifest.features, hints.columns
        )
        manifest = _with_event_time(manifest, fields, model_signature, reference, hints, inference)
    if "features" not in fields:
        columns = reference
        if columns is not None and manifest.event_time in columns:
            columns = columns.drop(columns=manifest.event_time)
        features = infer_features(model_signature, columns, manifest.target, hints, inference)
        manifest = replace(manifest, features=features)
    if not {"task", "prediction"} <= fields.keys():
        answers = _sample(session, model_signature, manifest.features, reference, files)
        labels = _labels(reference, manifest.target)
        manifest = _with_prediction(
            manifest, fields, model_signature, answers, labels, hints, inference
        )
    if reference is not None and (question := held_out_question(manifest)):
        inference.questions.append(question)
    completed = complete(manifest, model_signature, labelled=reference is not None)
    return Candidate(served, session, completed, reference, inference)


def _with_event_time(  # noqa: PLR0913, PLR0917  # each can show that the column has another use
    manifest: Manifest,
    fields: Fields,
    model_signature: Signature,
    reference: pd.DataFrame,
    hints: Hints,
    inference: Inference,
) -> Manifest:
    """Use a column `event_time` with dates as event times, unless the model uses it."""
    used = {*hints.columns, *(spec.name for spec in model_signature.inputs), manifest.target}
    used |= {feature.name for feature in manifest.features}
    if "event_time" in fields or EVENT_TIME not in reference.columns or EVENT_TIME in used:
        return manifest
    if not holds_times(reference[EVENT_TIME]):
        return manifest
    inference.reasons["event_time"] = "the reference has a column of this name with dates and times"
    return replace(manifest, event_time=EVENT_TIME)


def _with_extensions(
    manifest: Manifest, fields: Fields, model: ModelProto, inference: Inference
) -> Manifest:
    """Enable onnxruntime-extensions if the graph needs it and the manifest does not mention it."""
    if "extensions" in fields.get("session", {}) or not uses_extensions(model):
        return manifest
    inference.reasons["session"] = "the graph has operators of onnxruntime-extensions"
    return replace(manifest, session=replace(manifest.session, extensions=True))


def _served(
    onnx: bytes, manifest: Manifest, inference: Inference, folder: Path | None
) -> tuple[bytes, onnxruntime.InferenceSession]:
    """Return the repaired file and its session; record the changes in `inference`."""
    extensions = manifest.session.extensions
    served, changes = repair(onnx)
    session = load(served, extensions=extensions, folder=folder)
    read_signature(session)  # refuse a model that cannot be served before it runs
    served, corrected = correct_shapes(served, session, file_inputs(served))
    if corrected:
        session = load(served, extensions=extensions, folder=folder)
    if changes or corrected:
        inference.changes += [*changes, *corrected]
        inference.original = hashlib.sha256(onnx).hexdigest()
    return served, session


def _with_target(manifest: Manifest, target: str) -> Manifest:
    if not target or manifest.target == target:
        return manifest
    if manifest.target:
        raise InvalidManifest(
            f"target is {manifest.target!r} in the manifest, but {target!r} in the call; expected "
            "the same"
        )
    return replace(manifest, target=target)


def _labels(reference: pd.DataFrame | None, target: str) -> list[Any]:
    if reference is None or not target:
        return []
    if target not in reference.columns:
        raise InvalidReference(
            f"the reference has no column {target!r}; it has "
            f"{', '.join(map(repr, reference.columns))}"
        )
    return values_of(reference[target].dropna())


def _sample(
    session: onnxruntime.InferenceSession,
    model_signature: Signature,
    features: list[Feature],
    reference: pd.DataFrame | None,
    files: Files,
) -> dict[str, Array]:
    """Return the outputs for rows of the reference or generated rows; {} if the model fails."""
    names = [output.name for output in session.get_outputs()]
    try:
        if reference is not None:
            placed = [replace(feature, input=feature.input or feature.name) for feature in features]
            sample_manifest = Manifest(
                features=placed, signature=with_widths(model_signature, placed)
            )
            rows = sample_tensors(sample_manifest, reference)
            return dict(zip(names, session.run(names, rows), strict=True))
    except Exception:  # noqa: BLE001  # a later step, `complete`, reports the fault
        return {}
    return generated_answers(session, _GENERATED_ROWS, files)


def _with_prediction(  # noqa: PLR0913, PLR0917  # each contributes evidence
    manifest: Manifest,
    fields: Fields,
    model_signature: Signature,
    answers: Mapping[str, Array],
    labels: list[Any],
    hints: Hints,
    inference: Inference,
) -> Manifest:
    prediction = manifest.prediction
    if prediction.label or prediction.scores:
        return replace(manifest, task=_task_of(prediction, model_signature))
    if manifest.task == "other" and "task" in fields:
        return manifest
    task, inferred = infer_prediction(model_signature, answers, labels, hints, inference)
    if task == "other" and manifest.target:
        question = inference.questions[-1] if inference.questions else "state prediction"
        raise InvalidManifest(
            f"no output is recognised as the prediction of {manifest.target!r}: {question}"
        )
    if "task" in fields and manifest.task != task:
        raise InvalidManifest(
            f"task is {manifest.task!r}, but no output is recognised as its prediction; expected "
            "prediction: {label: OUTPUT} in the manifest"
        )
    declared_roles = {name: getattr(prediction, name) for name in fields.get("prediction", {})}
    return replace(manifest, task=task, prediction=replace(inferred, **declared_roles))


def _task_of(prediction: Prediction, model_signature: Signature) -> Task:
    datatypes = {spec.name: spec.datatype for spec in model_signature.outputs}
    if prediction.scores or prediction.probabilities or prediction.classes:
        return "classification"
    return (
        "regression" if datatypes.get(prediction.label, "").startswith("FP") else "classification"
    )
