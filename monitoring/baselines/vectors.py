"""Turn sampled vectors into columns of a baseline's rows."""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from registry.sampled_tensors import vector_column


def vector_columns(
    vectors: Mapping[str, Sequence[bytes]], rows: int
) -> dict[str, list[list[float] | None]]:
    """Return a column of vectors for each tensor, filled with None to the length `rows`.

    A row's vectors and its other values can be from different requests. Vectors beyond `rows` are
    left out.
    """
    columns: dict[str, list[list[float] | None]] = {}
    for tensor, bodies in vectors.items():
        values: list[list[float] | None] = [_floats(body) for body in bodies[:rows]]
        columns[vector_column(tensor)] = values + [None] * (rows - len(values))
    return {name: values for name, values in columns.items() if any(values)}


def _floats(body: bytes) -> list[Any]:
    return array("f", body).tolist()  # float32 in the machine's byte order: little-endian
