"""Encode arrays for the event log and JSON, which allow neither NaN nor infinities."""

from math import isfinite
from typing import Any

import numpy as np

from eventlog.events import Tensor, spell
from registry.datatypes import NUMPY, is_floating
from service.protocol.messages import Array

# Number of values from which the log contains numbers as raw bytes, because the conversion of a
# million numbers to text takes 70 ms.
MANY = 1_024


def to_tensor(datatype: str, array: Array) -> Tensor:
    """Return the array in an event's format: NaN is None, infinities are as in proto3's JSON."""
    if array.size >= MANY and array.dtype != object:
        return raw_tensor(datatype, array)
    return Tensor(datatype, list(array.shape), listed(array))


def raw_tensor(datatype: str, array: Array) -> Tensor:
    """Return a large array of numbers in an event's format, without a copy if possible.

    Its bytes are encoded as base64 when the event is written with its payload.
    """
    little: Array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    contents: Any = little.reshape(-1).view(np.uint8).data
    return Tensor(datatype, list(array.shape), [], contents)


def from_raw(tensor: Tensor) -> Array | None:
    """Return the array of a raw tensor of an event that is not written yet; otherwise None."""
    contents: Any = tensor.raw
    if not isinstance(contents, memoryview):
        return None
    array: Array = np.frombuffer(contents, NUMPY[tensor.datatype].newbyteorder("<"))
    return array.reshape(tensor.shape)


def listed(array: Array) -> list[Any]:
    """Return the values as a list for JSON, with null and text for NaN and infinities."""
    values = flat(array)
    return spell(values) if is_floating(array) and not all_finite(values) else values


def flat(array: Array) -> list[Any]:
    """Return the values, row-major, as Python objects."""
    values: list[Any] = (array if array.ndim == 1 else array.ravel()).tolist()
    return values


def is_finite(array: Array) -> bool:
    """Return whether no number of the array is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # three times faster than checking each value
        return bool(np.isfinite(total) or np.isfinite(array).all())


def all_finite(values: list[float]) -> bool:
    """Return whether no value is NaN or infinite."""
    # Adding the values is fast. Only if the sum is not finite, each value is checked.
    return isfinite(sum(values)) or all(map(isfinite, values))
