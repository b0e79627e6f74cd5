"""The signature an ONNX file really has, and whether a stated one agrees with it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import onnxruntime
from msgspec.structs import replace

from registry.datatypes import from_onnx
from registry.errors import InvalidManifest, InvalidModel
from registry.manifest import Feature, Signature, TensorSpec
from registry.rows import FREE, batch_dimension

_FIXES = {  # by the beginning of a type that is no tensor
    "seq(map(": "which skl2onnx's ZipMap makes: expected a tensor [N, classes]; convert with "
    "options={'zipmap': False}",
    "seq(": "a sequence of tensors: expected one tensor; let the graph join them "
    "(ConcatFromSequence)",
    "map(": "a dictionary: expected a tensor for each feature; name the columns in the pipeline "
    "(ColumnTransformer with OneHotEncoder, say) instead of DictVectorizer",
    "optional(": "which may be absent: expected a tensor that is always there",
}


def read_signature(session: onnxruntime.InferenceSession) -> Signature:
    """Inputs and outputs in the file's order; free and named dimensions become -1.

    Inputs with a default value in the file are left out: every run uses the default.
    Raises InvalidModel for a model without inputs and tensors that cannot travel, naming the fix.
    """
    inputs = [_spec("input", node) for node in session.get_inputs()]
    if not inputs:
        raise InvalidModel(
            "the model has no input, so it answers every request alike: expected one input at least"
        )
    empty = next((spec for spec in inputs if 0 in spec.shape), None)
    if empty is not None:
        raise InvalidModel(
            f"input {empty.name!r} has shape {empty.shape}, which holds no value: expected another "
            "size than 0, or a free dimension"
        )
    return Signature(inputs, [_spec("output", node) for node in session.get_outputs()])


def fixed_rows(signature: Signature) -> int | None:
    """How many rows every run has, where the file fixes it; None where requests can be batched."""
    size = batch_dimension(signature)
    return None if size == FREE else size


def require_agreement(stated: Signature, found: Signature) -> None:
    """Raise InvalidManifest listing every tensor on which the two differ; order does not matter."""
    faults = [
        *_differences("input", stated.inputs, found.inputs),
        *_differences("output", stated.outputs, found.outputs),
    ]
    if faults:
        raise InvalidManifest(f"signature: {'; '.join(faults)}")


def with_widths(found: Signature, features: Iterable[Feature]) -> Signature:
    """The signature with the columns of inputs [N, any] counted: as many as they carry features.

    So converters may leave that number open, as those of XGBoost and LightGBM do.
    """
    carried = Counter(feature.input or feature.name for feature in features)

    def counted(spec: TensorSpec) -> TensorSpec:
        if len(spec.shape) != 2 or spec.shape[1] != -1 or not carried[spec.name]:
            return spec
        return replace(spec, shape=[spec.shape[0], carried[spec.name]])

    return Signature([counted(spec) for spec in found.inputs], found.outputs)


def _spec(role: str, node: Any) -> TensorSpec:
    for kind, fix in _FIXES.items():
        if node.type.startswith(kind):
            raise InvalidModel(f"{role} {node.name!r} is a {node.type}, {fix}")
    try:
        datatype = from_onnx(node.type)
    except InvalidModel as error:
        raise InvalidModel(f"{role} {node.name!r}: {error}") from None
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return TensorSpec(node.name, datatype, shape)


def _differences(role: str, stated: Iterable[TensorSpec], found: Iterable[TensorSpec]) -> list[str]:
    theirs = {spec.name: f"{spec.datatype} {spec.shape}" for spec in stated}
    ours = {spec.name: f"{spec.datatype} {spec.shape}" for spec in found}
    return [
        f"{role} {name!r} is {theirs.get(name, 'absent')} in the manifest "
        f"but {ours.get(name, 'absent')} in the ONNX file"
        for name in theirs | ours
        if theirs.get(name) != ours.get(name)
    ]
