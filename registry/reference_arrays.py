"""Make a model's input arrays of reference columns that hold whole tensors."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from registry.datatypes import NUMPY
from registry.errors import InvalidReference
from registry.manifest import TensorSpec

Array = np.ndarray[Any, Any]


def stacked(spec: TensorSpec, column: Iterable[Any], *, whole: bool) -> Array:
    """Return a column of rows as one array; `whole`: rows have no batch axis.

    Raises InvalidReference for values that do not fit the input.
    """
    expected = spec.shape if whole else spec.shape[1:]
    try:
        array = np.stack([np.asarray(value) for value in column])
        if spec.datatype == "BYTES":
            array = array.astype(object)
        cast: Array = array.astype(NUMPY[spec.datatype])
    except (ValueError, TypeError) as error:
        raise InvalidReference(f"reference column {spec.name!r}: {error}") from None
    shape = list(cast.shape[1:])
    if not whole and len(spec.shape) == 2 and spec.shape[1] == 1 and not shape:
        return cast.reshape(-1, 1)
    fits = len(shape) == len(expected) and all(
        want in {-1, size} for want, size in zip(expected, shape, strict=True)
    )
    if not fits:
        raise InvalidReference(
            f"reference column {spec.name!r}: rows of shape {shape}; expected {expected} (-1: any)"
        )
    return cast
