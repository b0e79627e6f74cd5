"""Convert the tensors of logged events to arrays."""

from typing import Any

import numpy as np

from eventlog.events import INFINITIES, Tensor
from registry.datatypes import NUMPY

Array = np.ndarray[Any, Any]


def logged_numbers(tensor: Tensor) -> Array:
    """Convert a logged tensor of numbers; raises ValueError, KeyError or TypeError."""
    dtype = NUMPY[tensor.datatype]
    if tensor.raw or tensor.raw_at is not None:
        flat = np.frombuffer(tensor.raw_bytes(), dtype.newbyteorder("<"))
    else:
        flat = np.array([_number(value) for value in tensor.data]).astype(dtype)
    return flat.reshape(tensor.shape)


def logged_array(tensor: Tensor) -> Array:
    """Convert a logged tensor, strings to objects; raises ValueError, KeyError or TypeError."""
    if tensor.datatype != "BYTES":
        return logged_numbers(tensor)
    array = np.empty(len(tensor.data), object)
    array[:] = tensor.data
    return array.reshape(tensor.shape)


def _number(value: Any) -> Any:
    if value is None:
        return float("nan")
    return INFINITIES[value] if isinstance(value, str) else value
