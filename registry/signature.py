"""Read the signature of an ONNX file, and compare it with the signature in a manifest."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from registry.datatypes import from_onnx
from registry.errors import InvalidManifest, InvalidModel
from registry.manifest import Feature, Signature, TensorSpec
from registry.rows import FREE, batch_dimension

if TYPE_CHECKING:
    import onnxruntime

_MOST_OPTIONAL = 8  # if more inputs have a default, they are weights
_FIXES = {  # prefix of a non-tensor type -> explanation and fix
    "seq(map(": "which skl2onnx's ZipMap returns: expected a tensor [N, classes]; convert with "
    "options={'zipmap': False}",
    "seq(": "a sequence of tensors: expected one tensor; join the tensors in the graph "
    "(ConcatFromSequence)",
    "map(": "a dictionary: expected a tensor for each feature; name the columns in the pipeline, "
    "for example with ColumnTransformer and OneHotEncoder instead of DictVectorizer",
    "optional(": "which can be absent: expected a tensor that is always present",
}


def read_signature(
    session: "onnxruntime.InferenceSession", optional: Collection[str] = ()
) -> Signature:
    """Return inputs and outputs in the file's order; free and named dimensions become -1.

    Inputs with a default value in the file are omitted unless `optional` names them, because every
    run uses the default. Raises InvalidModel, with a fix, if the model has no input, no output, or
    a type that requests cannot contain. Raises InvalidManifest if `optional` has other names.
    """
    inputs = [_spec("input", node) for node in session.get_inputs()]
    if not inputs:
        raise InvalidModel(
            "the model has no input, so all its answers are equal: expected at least one input"
        )
    empty = next((spec for spec in inputs if 0 in spec.shape), None)
    if empty is not None:
        raise InvalidModel(
            f"input {empty.name!r} has shape {empty.shape}, which has no values: expected sizes "
            "above 0, or free dimensions"
        )
    outputs = [_spec("output", node) for node in session.get_outputs()]
    if not outputs:
        raise InvalidModel(
            "the model has no output, so it has no answer: expected at least one output"
        )
    defaults = {node.name: node for node in session.get_overridable_initializers()}
    if unknown := set(optional) - set(defaults):
        raise InvalidManifest(
            f"optional_inputs: the ONNX file has no default for an input {min(unknown)!r}; "
            f"expected some of {', '.join(map(repr, defaults)) or 'none'}"
        )
    chosen = [_spec("input", node) for name, node in defaults.items() if name in optional]
    return Signature(inputs, outputs, chosen)


def optional_inputs_question(
    session: "onnxruntime.InferenceSession", optional: Collection[str]
) -> str:
    """Return the question whether requests can set inputs with a default, or "" if there are none.

    Many inputs with a default are weights, which older exporters list as inputs. Return "" for
    these too.
    """
    names = [node.name for node in session.get_overridable_initializers()]
    questioned = [name for name in names if name not in optional]
    if not questioned or len(names) > _MOST_OPTIONAL:
        return ""
    return (
        f"can requests set {', '.join(map(repr, questioned))}, which have defaults in the file? "
        f"Every run uses the default; to allow it, state "
        f"optional_inputs: [{', '.join(questioned)}] in the manifest"
    )


def fixed_rows(signature: Signature) -> int | None:
    """Return the fixed number of rows in every run, or None if the number is free."""
    size = batch_dimension(signature)
    return None if size == FREE else size


def require_agreement(declared: Signature, actual: Signature) -> None:
    """Raise InvalidManifest that lists every differing tensor; the order does not matter."""
    faults = [
        *_differences("input", declared.inputs, actual.inputs),
        *_differences("output", declared.outputs, actual.outputs),
    ]
    if faults:
        raise InvalidManifest(f"signature: {'; '.join(faults)}")


def with_widths(model_signature: Signature, features: Iterable[Feature]) -> Signature:
    """Replace the free width of inputs [N, -1] with the number of their features.

    Converters of XGBoost and LightGBM leave the width free.
    """
    carried = Counter(feature.input or feature.name for feature in features)

    def counted(spec: TensorSpec) -> TensorSpec:
        if len(spec.shape) != 2 or spec.shape[1] != -1 or not carried[spec.name]:
            return spec
        return replace(spec, shape=[spec.shape[0], carried[spec.name]])

    return replace(model_signature, inputs=[counted(spec) for spec in model_signature.inputs])


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


def _differences(
    role: str, declared: Iterable[TensorSpec], actual: Iterable[TensorSpec]
) -> list[str]:
    in_manifest = {spec.name: f"{spec.datatype} {spec.shape}" for spec in declared}
    in_file = {spec.name: f"{spec.datatype} {spec.shape}" for spec in actual}
    return [
        f"{role} {name!r} is {in_manifest.get(name, 'absent')} in the manifest "
        f"but {in_file.get(name, 'absent')} in the ONNX file"
        for name in in_manifest | in_file
        if in_manifest.get(name) != in_file.get(name)
    ]
