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
    for spec in inputs:
        if not spec.shape or spec.shape[0] != -1:
            raise InvalidModel(
                f"input {spec.name!r} has shape {spec.shape}: expected a free first dimension "
                "(None in skl2onnx's initial_types, dynamic_axes in torch), so that requests can "
                "be batched"
            )
    return Signature(inputs, [_spec("output", node) for node in session.get_outputs()])


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
