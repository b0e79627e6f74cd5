"""The signature an ONNX file really has, and whether a stated one agrees with it."""

from collections.abc import Iterable
from typing import Any

import onnxruntime

from registry.datatypes import from_onnx
from registry.errors import InvalidManifest, InvalidModel
from registry.manifest import Signature, TensorSpec


def read_signature(session: onnxruntime.InferenceSession) -> Signature:
    """Inputs and outputs in the file's order; free and named dimensions become -1.

    Raises InvalidModel for tensors that cannot travel or be batched, naming the fix.
    """
    inputs = [_spec("input", node) for node in session.get_inputs()]
    first = {spec.name: spec.shape[0] if spec.shape else None for spec in inputs}
    if None in first.values() or len(set(first.values())) > 1 or 0 in first.values():
        raise InvalidModel(
            f"inputs differ in their first dimension: {first}; expected the rows of a request "
            "there, free in every input (None in skl2onnx's initial_types, dynamic_axes in torch) "
            "or one fixed number in all of them"
        )
    return Signature(inputs, [_spec("output", node) for node in session.get_outputs()])


def fixed_rows(signature: Signature) -> int | None:
    """How many rows every run has, where the file fixes it; None where requests can be batched."""
    first = signature.inputs[0].shape[0] if signature.inputs else -1
    return None if first == -1 else first


def require_agreement(stated: Signature, found: Signature) -> None:
    """Raise InvalidManifest listing every tensor on which the two differ; order does not matter."""
    faults = [
        *_differences("input", stated.inputs, found.inputs),
        *_differences("output", stated.outputs, found.outputs),
    ]
    if faults:
        raise InvalidManifest(f"signature: {'; '.join(faults)}")


def _spec(role: str, node: Any) -> TensorSpec:
    if node.type.startswith("seq(map("):
        raise InvalidModel(
            f"{role} {node.name!r} is a {node.type}, which skl2onnx's ZipMap makes: expected a "
            "tensor [N, classes]; convert with options={'zipmap': False}"
        )
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
