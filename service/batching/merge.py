"""Several requests' inputs <-> the inputs and outputs of one run."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from service.errors import RunFailed

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]  # tensors by name


def merge(requests: Sequence[Arrays]) -> Arrays:
    """The inputs of all requests, one after the other along the first dimension."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([inputs[name] for inputs in requests]) for name in requests[0]}


def offsets(rows: Sequence[int]) -> list[int]:
    """Where each request's rows begin in the merged run."""
    return list(accumulate(rows, initial=0))[:-1]


def split(outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Array]]:
    """Each request's rows of the outputs, in the order they were merged.

    Raises RunFailed when an output does not have as many rows as were merged.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise RunFailed(
                f"output {name!r} has shape {list(array.shape)} for {total} rows; "
                f"expected {total} in its first dimension"
            )
    return [
        {name: array[start : start + size] for name, array in outputs.items()}
        for start, size in zip(offsets(rows), rows, strict=True)
    ]
