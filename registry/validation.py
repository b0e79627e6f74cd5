"""Check that a manifest agrees with the signature of its ONNX file.

`complete` adds missing fields from the ONNX file and refuses contradictions.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from eventlog.events import Label
from registry.errors import InvalidManifest
from registry.features import expects_labels, monitored_columns, width
from registry.manifest import (
    Feature,
    Kind,
    Manifest,
    MaxGap,
    Prediction,
    SegmentPolicy,
    Signature,
    Summary,
    TensorSpec,
)
from registry.own_columns import OwnColumns
from registry.payload import check_payload
from registry.sampled_tensors import check_embeddings
from registry.signature import fixed_rows, require_agreement, with_widths
from registry.summaries import default_summaries, statistics_of

_EITHER = frozenset({"hellinger", "jensenshannon", "kl_div", "psi"})
# Evidently's drift methods by the kind of column that they accept.
DRIFT_METHODS: dict[Kind, frozenset[str]] = {
    "numeric": _EITHER
    | {"anderson", "cramer_von_mises", "ed", "es", "ks", "mannw", "t_test", "wasserstein"},
    "categorical": _EITHER | {"TVD", "chisquare", "z"},
}
_AS_MANY = "it needs windows with the same number of rows as the reference"
UNFIT_METHODS = {  # Evidently's other methods -> reason why they cannot score a window
    "fisher_exact": _AS_MANY,
    "g_test": _AS_MANY,
    "empirical_mmd": "its value differs between calls, and its time and memory grow with the "
    "square of the number of rows",
}


def complete(manifest: Manifest, model_signature: Signature, *, labelled: bool = True) -> Manifest:
    """Add the signature, the input of every feature and the positive class.

    `labelled` states whether a reference is registered, which has labels if a target is stated.
    Raises InvalidManifest with the field that contradicts the ONNX file and the expected value.
    """
    if manifest.signature is not None:
        require_agreement(manifest.signature, model_signature)
    model_signature = with_widths(model_signature, manifest.features)
    if labelled and manifest.target and manifest.held_out is False:
        raise InvalidManifest(
            "held_out is false: expected a reference that the model was not trained on, because "
            "with training rows, estimates of performance are too high"
        )
    if manifest.event_time and manifest.event_time == manifest.target:
        raise InvalidManifest(f"event_time and target are the same column: {manifest.target!r}")
    features = _complete_features(manifest, model_signature)
    check_payload(manifest.payload, features, model_signature, manifest.prediction)
    completed = msgspec.structs.replace(
        manifest,
        signature=model_signature,
        features=features,
        prediction=_complete_prediction(manifest, model_signature),
        summaries=_complete_summaries(manifest, features, model_signature),
        max_batch_size=fixed_rows(model_signature) or manifest.max_batch_size,
    )
    check_monitoring(completed)
    return completed


def check_monitoring(manifest: Manifest) -> None:
    """Raise InvalidManifest if the monitoring policy does not fit the model."""
    _check_drift_settings(manifest)
    check_embeddings(manifest)
    check_segments(manifest)
    _check_timezone(manifest)
    _check_score(manifest, manifest.prediction)
    _check_groups(manifest, manifest.prediction)
    if manifest.monitoring.review is not None and not expects_labels(manifest):
        raise InvalidManifest(
            "monitoring.review selects rows to label, but no label is expected: state target and "
            "the output of the prediction"
        )


def _check_drift_settings(manifest: Manifest) -> None:
    answer: Kind = "categorical" if manifest.task == "classification" else "numeric"
    kinds = {column.name: column.kind for column in monitored_columns(manifest)}
    kinds |= {} if manifest.task == "other" else {OwnColumns(manifest).prediction: answer}
    for field in ("drift_methods", "drift_thresholds"):
        unknown = set(getattr(manifest.monitoring, field)) - set(kinds)
        if unknown:
            raise InvalidManifest(f"monitoring.{field}: not a feature: {_listed(unknown)}")
    for name, method in manifest.monitoring.drift_methods.items():
        if method in UNFIT_METHODS:
            raise InvalidManifest(
                f"monitoring.drift_methods: {name!r} cannot be scored by {method!r}: "
                f"{UNFIT_METHODS[method]}; expected one of {_listed(DRIFT_METHODS[kinds[name]])}"
            )
        if method not in DRIFT_METHODS[kinds[name]]:
            raise InvalidManifest(
                f"monitoring.drift_methods: {method!r} is not a method for {name!r}, which is "
                f"{kinds[name]}; expected one of {_listed(DRIFT_METHODS[kinds[name]])}"
            )


def check_segments(manifest: Manifest) -> None:
    """Raise InvalidManifest if a segment cannot assign rows to groups."""
    kinds = {feature.name: feature.kind for feature in manifest.features}
    columns: set[str] = set()
    for declared in manifest.monitoring.segments:
        segment = SegmentPolicy.of(declared)
        where = f"monitoring.segments: {segment.column!r}"
        if segment.column not in kinds:
            raise InvalidManifest(f"{where} is not a feature; expected one of {_listed(kinds)}")
        if segment.column in columns:
            raise InvalidManifest(f"{where} is stated twice")
        columns.add(segment.column)
        if kinds[segment.column] == "categorical" and segment.edges:
            raise InvalidManifest(f"{where} is categorical; expected no edges")
        if kinds[segment.column] == "numeric" and not segment.edges:
            raise InvalidManifest(f"{where} is numeric; expected edges, {{column: ..., edges: []}}")
        if any(low >= high for low, high in pairwise(segment.edges)):
            raise InvalidManifest(f"{where}: expected ascending edges, got {segment.edges}")


def _check_timezone(manifest: Manifest) -> None:
    if (timezone := manifest.monitoring.alarms.timezone) == "UTC":
        return
    from registry.timezones import find_zone  # noqa: PLC0415  # its import reads many folders

    try:
        find_zone(timezone)
    except ValueError as error:
        raise InvalidManifest(f"monitoring.alarms.timezone: {error}") from None


def _check_score(manifest: Manifest, prediction: Prediction) -> None:
    """Raise InvalidManifest if a limit refers to a score that is never computed."""
    policy = manifest.monitoring.alarms
    if policy.min_score is None and policy.min_segment_score is None and not policy.score:
        return
    score_names = computed_scores(manifest, prediction)
    score = policy.score or ("roc_auc" if manifest.task == "classification" else "mae")
    if score not in score_names:
        raise InvalidManifest(
            f"monitoring.alarms.score is {score!r}{'' if policy.score else ' by default'}, which "
            f"is not computed for this model; expected one of {_listed(score_names)}"
        )


def _check_groups(manifest: Manifest, prediction: Prediction) -> None:
    """Raise InvalidManifest if a limit on groups lacks segments or a positive class."""
    policy, segments = manifest.monitoring.alarms, manifest.monitoring.segments
    gap = policy.max_gap != MaxGap()
    if (gap or policy.min_segment_score is not None) and not segments:
        field = "max_gap" if gap else "min_segment_score"
        raise InvalidManifest(
            f"monitoring.alarms.{field} limits groups; expected monitoring.segments to state the "
            "columns whose values form the groups"
        )
    if gap and (prediction.positive is None or len(prediction.classes) > 2):
        raise InvalidManifest(
            "monitoring.alarms.max_gap limits rates of the positive class; expected a "
            "classification of two classes with prediction.positive"
        )


def computed_scores(manifest: Manifest, prediction: Prediction) -> list[str]:
    """Return the performance scores that monitoring computes for the model."""
    if manifest.task == "other":
        return []
    if manifest.task == "regression":
        return ["bias", "mae", "mape", "r2", "rmse"]
    scores = ["accuracy", "f1", "precision", "recall"]
    if prediction.probabilities or prediction.activation != "none":
        scores += ["brier", "calibration_error", "log_loss", "roc_auc"]
    return scores


def _complete_features(manifest: Manifest, model_signature: Signature) -> list[Feature]:
    inputs = {spec.name: spec for spec in model_signature.inputs}
    names = [feature.name for feature in manifest.features]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidManifest(f"features are named more than once: {_listed(twice)}")
    if "" in {*names, *(summary.name for summary in manifest.summaries or [])}:
        raise InvalidManifest("a feature or a summary has an empty name; expected another name")
    shared = {*names, manifest.target} & {summary.name for summary in manifest.summaries or []}
    if shared:
        raise InvalidManifest(f"summaries have names of features or the target: {_listed(shared)}")
    if manifest.target in names:
        raise InvalidManifest(
            f"target {manifest.target!r} is also a feature; expected a column that is not a feature"
        )
    features = [_place(feature, inputs) for feature in manifest.features]
    _require_every_column_carried(features, inputs)
    return features


def _complete_summaries(
    manifest: Manifest, features: list[Feature], model_signature: Signature
) -> list[Summary] | None:
    """Return the stated summaries or, by default, summaries of all inputs without features.

    For task: other, the default also contains summaries of the outputs.
    """
    if manifest.summaries is not None:
        check_summaries(manifest.summaries, model_signature)
        return manifest.summaries
    carried = {feature.input for feature in features}
    if manifest.task != "other":
        carried |= {spec.name for spec in model_signature.outputs}
    return default_summaries(model_signature, carried) or None


def check_summaries(summaries: list[Summary], model_signature: Signature) -> None:
    """Raise InvalidManifest if a summary names an unknown tensor or an unsuitable statistic."""
    specs = {spec.name: spec for spec in (*model_signature.inputs, *model_signature.outputs)}
    twice = [name for name, count in Counter(s.name for s in summaries).items() if count > 1]
    if twice:
        raise InvalidManifest(f"summaries are named more than once: {_listed(twice)}")
    for summary in summaries:
        where = f"summary {summary.name!r}"
        if summary.tensor not in specs:
            raise InvalidManifest(
                f"{where}: the ONNX file has no input or output {summary.tensor!r}; expected one "
                f"of {_listed(specs)}"
            )
        statistics = statistics_of(specs[summary.tensor].datatype)
        if summary.statistic not in statistics:
            raise InvalidManifest(
                f"{where}: {summary.tensor!r} is {specs[summary.tensor].datatype}, which has no "
                f"{summary.statistic!r}; expected one of {_listed(statistics)}"
            )


def _place(feature: Feature, inputs: dict[str, TensorSpec]) -> Feature:
    where = feature.input or feature.name
    if where not in inputs:
        raise InvalidManifest(
            f"feature {feature.name!r}: the ONNX file has no input {where!r}; "
            f"expected one of {_listed(inputs)}"
        )
    spec = inputs[where]
    if feature.index >= width(spec):
        raise InvalidManifest(
            f"feature {feature.name!r}: index {feature.index} is outside input {where!r} of shape "
            f"{spec.shape}; expected 0 to {width(spec) - 1}"
        )
    if feature.kind == "numeric" and spec.datatype == "BYTES":
        raise InvalidManifest(
            f"feature {feature.name!r} is numeric but input {where!r} is BYTES (strings); "
            "expected kind: categorical"
        )
    if feature.nullable and spec.datatype not in {"BYTES", "FP16", "FP32", "FP64"}:
        raise InvalidManifest(
            f"feature {feature.name!r} is nullable but input {where!r} is {spec.datatype}, "
            "which has no missing value; expected nullable: false"
        )
    return msgspec.structs.replace(feature, input=where)


def _require_every_column_carried(features: list[Feature], inputs: dict[str, TensorSpec]) -> None:
    carried = Counter((feature.input, feature.index) for feature in features)
    used = {feature.input for feature in features}
    for spec in (spec for spec in inputs.values() if spec.name in used):
        for index in range(width(spec)):
            count = carried[spec.name, index]
            if count != 1:
                raise InvalidManifest(
                    f"input {spec.name!r}, column {index} belongs to {count} features; "
                    "expected exactly one feature per column, or no feature in the input"
                )


def _complete_prediction(manifest: Manifest, model_signature: Signature) -> Prediction:
    outputs = {spec.name: spec for spec in model_signature.outputs}
    prediction = manifest.prediction
    if manifest.task == "other":
        _require_no_prediction(manifest)
        return prediction
    if prediction.scores:
        return _complete_scores(manifest, outputs)
    if prediction.activation != "none":
        raise InvalidManifest(
            "prediction.activation needs prediction.scores; expected the output of raw scores in it"
        )
    label = _output("label", prediction.label, outputs)
    if len(label.shape) not in {1, 2} or (len(label.shape) == 2 and label.shape[1] not in {1, -1}):
        raise InvalidManifest(
            f"prediction.label: output {label.name!r} has shape {label.shape}; "
            "expected [N] or [N, 1]"
        )
    if manifest.task == "regression":
        return _regression(prediction, label)
    for value in prediction.classes:
        _require_class_fits(value, label)
    if len(set(prediction.classes)) != len(prediction.classes):
        raise InvalidManifest(f"prediction.classes repeats a class: {prediction.classes}")
    if prediction.probabilities:
        _check_probabilities(prediction, outputs)
    return _with_positive(prediction)


def _require_no_prediction(manifest: Manifest) -> None:
    if manifest.prediction != Prediction():
        raise InvalidManifest(
            "prediction is stated, but task is 'other'; expected task: classification or "
            "task: regression, or no prediction"
        )
    if manifest.target:
        raise InvalidManifest(
            f"target {manifest.target!r} is stated, but task is 'other'; expected "
            "task: classification or task: regression, and prediction to name the output"
        )


def _complete_scores(manifest: Manifest, outputs: dict[str, TensorSpec]) -> Prediction:
    prediction = manifest.prediction
    spec = _output("scores", prediction.scores, outputs)
    if manifest.task == "regression":
        raise InvalidManifest("prediction.scores is for task: classification; expected label")
    if prediction.label or prediction.probabilities:
        raise InvalidManifest(
            "prediction.scores is stated together with label or probabilities; expected only "
            "scores, because label and probabilities are derived from them"
        )
    classes = len(prediction.classes)
    if not classes:
        raise InvalidManifest(
            "prediction.classes is empty: expected the classes in the order of the columns of "
            f"output {spec.name!r}"
        )
    if len(set(prediction.classes)) != classes:
        raise InvalidManifest(f"prediction.classes repeats a class: {prediction.classes}")
    fits = len(spec.shape) == 2 and spec.shape[1] in {-1, classes}
    if not fits or not spec.datatype.startswith("FP"):
        raise InvalidManifest(
            f"prediction.scores: output {spec.name!r} is {spec.datatype} {spec.shape}; "
            f"expected a floating-point tensor [N, {classes}], one column for each class"
        )
    return _with_positive(prediction)


def _regression(prediction: Prediction, label: TensorSpec) -> Prediction:
    if label.datatype == "BYTES":
        raise InvalidManifest(
            f"prediction.label: output {label.name!r} is BYTES (strings); "
            "expected numbers for task: regression"
        )
    if prediction.probabilities or prediction.classes or prediction.positive is not None:
        raise InvalidManifest(
            "prediction: probabilities, classes and positive are for task: classification; "
            "expected only label for task: regression"
        )
    return prediction


def _require_class_fits(value: Label, label: TensorSpec) -> None:
    fitting: dict[str, tuple[type, ...]] = {"BYTES": (str,), "BOOL": (bool,)}
    kinds = fitting.get(label.datatype, (int, float))
    if type(value) not in kinds:
        raise InvalidManifest(
            f"prediction.classes: {value!r} is a {type(value).__name__}, but output "
            f"{label.name!r} is {label.datatype}; expected "
            f"{' or '.join(kind.__name__ for kind in kinds)} (quote words like yes and no in YAML)"
        )


def _check_probabilities(prediction: Prediction, outputs: dict[str, TensorSpec]) -> None:
    spec = _output("probabilities", prediction.probabilities, outputs)
    if not prediction.classes:
        raise InvalidManifest(
            "prediction.classes is empty: expected the classes in the order of the columns of "
            f"output {spec.name!r}"
        )
    classes = len(prediction.classes)
    fits = len(spec.shape) == 2 and spec.shape[1] in {-1, classes}
    if not fits or not spec.datatype.startswith("FP"):
        raise InvalidManifest(
            f"prediction.probabilities: output {spec.name!r} is {spec.datatype} {spec.shape}; "
            f"expected a floating-point tensor [N, {classes}], one column for each class"
        )


def _with_positive(prediction: Prediction) -> Prediction:
    classes = prediction.classes
    if prediction.positive is None:
        positive = classes[1] if len(classes) == 2 else None
    elif prediction.positive in classes:
        positive = classes[classes.index(prediction.positive)]  # YAML's True equals class 1
    else:
        raise InvalidManifest(
            f"prediction.positive is {prediction.positive!r}; expected one of classes {classes}"
        )
    return msgspec.structs.replace(prediction, positive=positive)


def _output(field: str, name: str, outputs: dict[str, TensorSpec]) -> TensorSpec:
    if name not in outputs:
        raise InvalidManifest(
            f"prediction.{field}: the ONNX file has no output {name!r}; "
            f"expected one of {_listed(outputs)}"
        )
    return outputs[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
