"""Convert reference columns that contain a tensor in each row to model inputs."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from registry.datatypes import NUMPY
from registry.errors import InvalidReference
from registry.manifest import TensorSpec

Array = np.ndarray[Any, Any]


def stacked(spec: TensorSpec, column: Iterable[Any], *, whole: bool) -> Array:
    """Stack the rows of a column to one array.

    `whole` states that the input has no batch dimension, so each row is a whole input. Raises
    InvalidReference for values that do not fit the input.
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
            f"reference column {spec.name!r}: rows have shape {shape}; expected {expected}, where "
            "-1 is any size"
        )
    return cast
