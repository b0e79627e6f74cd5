"""Read the domain (range or categories) of each feature in a version's reference."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from registry.manifest import Feature, Version
from registry.reference import whole
from registry.reference_path import REFERENCE, reference_path
from registry.stored_files import require_unchanged


def domains(
    version: Version, features: Sequence[Feature]
) -> tuple[dict[str, tuple[float, float]], dict[str, set[str]]]:
    """Return the ranges of numeric features, and the values of categorical features as text.

    A numeric feature without any number has no range. Works without pandas. Raises ChangedFile if
    the bytes of the reference changed.
    """
    require_unchanged(version, REFERENCE)
    ranges: dict[str, tuple[float, float]] = {}
    categories: dict[str, set[str]] = {}
    with pq.ParquetFile(reference_path(version)) as file:
        for feature in features:
            column = file.read([feature.name], use_threads=False).column(0).drop_null()
            if feature.kind == "categorical":
                values = column.unique().to_pylist()
                categories[feature.name] = {
                    str(whole(value)) for value in values if not _is_nan(value)
                }
                continue
            if pa.types.is_floating(column.type):
                column = column.filter(pc.invert(pc.is_nan(column)))
            if len(column):
                extremes = pc.min_max(column).as_py()
                ranges[feature.name] = (float(extremes["min"]), float(extremes["max"]))
    return ranges, categories


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)
