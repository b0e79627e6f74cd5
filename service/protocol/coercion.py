"""Convert inputs to the expected shape and, if the manifest allows it, datatype. Pure.

The only conversions of shapes are [N] to [N, 1] and back, because several clients support only one
of them. Datatypes are converted only if the manifest has `coerce: true` and all values fit: FP64 to
FP32 may round, but must not overflow, and integers must not change. The reply lists the
conversions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from registry.datatypes import NUMPY, is_floating
from registry.manifest import TensorSpec
from service.errors import InvalidRequest
from service.protocol.messages import Array, RequestTensor


class CoercedTensor:
    """An input that is converted to the datatype and shape of the signature."""

    raw_json = None

    def __init__(self, tensor: RequestTensor, datatype: str, shape: Sequence[int]) -> None:
        self.name = tensor.name
        self.datatype = datatype
        self.shape = shape
        self._tensor = tensor

    def array(self) -> Array:
        """Return the converted values; raises InvalidRequest if a value does not fit."""
        values = self._tensor.array()
        return _cast(values, self.datatype, self.name).reshape(tuple(self.shape))


def coerce(
    tensors: Sequence[RequestTensor], specs: Mapping[str, TensorSpec], *, datatypes: bool
) -> tuple[Sequence[RequestTensor], str]:
    """Return the inputs, converted if necessary, and a text that lists the conversions."""
    notes: list[str] = []
    coerced = [
        _coerced(tensor, specs[tensor.name], notes, datatypes=datatypes) for tensor in tensors
    ]
    return coerced, "; ".join(notes)


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
    before = f"{tensor.datatype} {list(tensor.shape)}"
    notes.append(f"{tensor.name}: {before} to {datatype} {shape}")
    return CoercedTensor(tensor, datatype, shape)


def _cast(values: Array, datatype: str, name: str) -> Array:
    dtype: np.dtype[Any] = NUMPY[datatype]
    if values.dtype == dtype:
        return values
    with np.errstate(all="ignore"):
        cast: Array = values.astype(dtype)
        if is_floating(cast) and is_floating(values):
            faulty = np.isfinite(values) & ~np.isfinite(cast)
        else:
            faulty = cast.astype(values.dtype) != values
    if not is_floating(cast) and values.dtype.kind in "iu" and cast.dtype.kind in "iu":
        faulty |= (values < 0) != (cast < 0)  # overflow that the comparison above does not find
    if faulty.any():
        value = values.ravel()[int(faulty.argmax())]
        raise InvalidRequest(f"{value!s} does not fit {datatype}", tensor=name)
    return cast
