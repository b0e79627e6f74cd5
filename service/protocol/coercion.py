"""Convert inputs of another shape, and of another datatype with `coerce: true`. Pure.

[N] stands for [N, 1] and back: several clients know one of them only, and no other shape is meant.
Of datatypes, values must survive: FP64 to FP32 rounds, as FP32 itself does, but nothing overflows,
and integers stay what they are. What was converted is in the reply.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from registry.datatypes import NUMPY, is_floating
from registry.manifest import TensorSpec
from service.errors import InvalidRequest
from service.protocol.messages import Array, RequestTensor


class CoercedTensor:
    """One input as its specification has it, read from another."""

    sent = None

    def __init__(self, tensor: RequestTensor, datatype: str, shape: Sequence[int]) -> None:
        self.name = tensor.name
        self.datatype = datatype
        self.shape = shape
        self._tensor = tensor

    def array(self) -> Array:
        """Return the converted values; raises InvalidRequest for one that does not fit."""
        given = self._tensor.array()
        return _cast(given, self.datatype, self.name).reshape(tuple(self.shape))


def coerce(
    tensors: Sequence[RequestTensor], specs: Mapping[str, TensorSpec], *, datatypes: bool
) -> tuple[Sequence[RequestTensor], str]:
    """Return the inputs as specified, and what was converted; others are returned as they are."""
    notes: list[str] = []
    found = [_coerced(one, specs[one.name], notes, datatypes=datatypes) for one in tensors]
    return found, "; ".join(notes)


def _coerced(
    tensor: RequestTensor, spec: TensorSpec, notes: list[str], *, datatypes: bool
) -> RequestTensor:
    datatype, shape = tensor.datatype, list(tensor.shape)
    numbers = NUMPY.keys() - {"BYTES"} if datatypes else frozenset()
    if datatype != spec.datatype and {datatype, spec.datatype} <= numbers:
        datatype = spec.datatype
    if len(shape) == 1 and len(spec.shape) == 2 and spec.shape[1] == 1:
        shape = [shape[0], 1]
    elif len(shape) == 2 and shape[1] == 1 and len(spec.shape) == 1:
        shape = [shape[0]]
    if datatype == tensor.datatype and shape == list(tensor.shape):
        return tensor
    sent = f"{tensor.datatype} {list(tensor.shape)}"
    notes.append(f"{tensor.name}: {sent} to {datatype} {shape}")
    return CoercedTensor(tensor, datatype, shape)


def _cast(given: Array, datatype: str, name: str) -> Array:
    dtype: np.dtype[Any] = NUMPY[datatype]
    if given.dtype == dtype:
        return given
    with np.errstate(all="ignore"):
        cast: Array = given.astype(dtype)
        if is_floating(cast) and is_floating(given):
            faulty = np.isfinite(given) & ~np.isfinite(cast)
        else:
            faulty = cast.astype(given.dtype) != given
    if not is_floating(cast) and given.dtype.kind in "iu" and cast.dtype.kind in "iu":
        faulty |= (given < 0) != (cast < 0)  # one wraps round into the other
    if faulty.any():
        value = given.ravel()[int(faulty.argmax())]
        raise InvalidRequest(f"{value!s} does not fit {datatype}", tensor=name)
    return cast
