"""Arrays as the event log and JSON write them: flat lists that hold no NaN and no infinity."""

from binascii import b2a_base64
from math import isfinite
from typing import Any

import numpy as np

from eventlog.events import Tensor, spell
from service.openinference.messages import Array

# Values, from where on the log holds numbers as raw bytes: as text a million of them take 70 ms.
MANY = 1_024


def to_tensor(datatype: str, array: Array) -> Tensor:
    """The array as an event carries it: NaN as None, infinities as in proto3's JSON."""
    if array.size >= MANY and array.dtype != object:
        return raw_tensor(datatype, array)
    return Tensor(datatype, list(array.shape), listed(array))


def raw_tensor(datatype: str, array: Array) -> Tensor:
    """An array of numbers as an event carries it where there are many."""
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return Tensor(datatype, list(array.shape), [], b2a_base64(data.data, newline=False).decode())


def listed(array: Array) -> list[Any]:
    """The values as JSON writes them."""
    values = flat(array)
    return spell(values) if array.dtype.kind == "f" and not all_finite(values) else values


def flat(array: Array) -> list[Any]:
    """The values, row-major, as Python objects."""
    values: list[Any] = (array if array.ndim == 1 else array.ravel()).tolist()
    return values


def all_finite(values: list[float]) -> bool:
    """Whether no value is NaN or infinite."""
    # One addition a value; a sum of finite values that overflows is told apart by the second look.
    return isfinite(sum(values)) or all(map(isfinite, values))
