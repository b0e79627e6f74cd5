"""Merge the inputs of several requests into one run, and split the run's outputs. Pure."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from service.errors import RunFailed

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]  # tensors by name


def merge(requests: Sequence[Arrays]) -> Arrays:
    """Concatenate the inputs of all requests along the first dimension."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([inputs[name] for inputs in requests]) for name in requests[0]}


def offsets(rows: Sequence[int]) -> list[int]:
    """Return the index of each request's first row in the merged run."""
    return list(accumulate(rows, initial=0))[:-1]


def split(outputs: Arrays, rows: Sequence[int]) -> list[dict[str, Array]]:
    """Return each request's outputs, in the order of the merged requests.

    Raises RunFailed if an output's first dimension differs from the number of merged rows.
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
