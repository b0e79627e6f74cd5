"""Read a reference's domain: the ranges and categories that rows are compared with."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from monitoring.counters.plain_values import category
from monitoring.counters.reference_domain import ANY_NUMBER, Domain, KnownValues, Range, bounds
from registry.features import monitored_columns
from registry.manifest import Feature, Version
from registry.payload import unmonitored
from registry.reference_path import learns

_BATCH = 8_192  # rows read at once


def read_domain(version: Version) -> Domain:
    """Return the domain of a version's reference; most ranges are read from the file's statistics.

    Without a reference, every value is inside; missing values are counted nevertheless.
    Raises OSError or ValueError if the reference cannot be read.
    """
    return Domain(known_values(version))


def known_values(version: Version) -> list[KnownValues]:
    """Return the reference's range or categories for each monitored column.

    An entry is None if the payload policy hides the column. Raises OSError or ValueError if the
    reference cannot be read.
    """
    hidden = unmonitored(version.manifest)
    columns = monitored_columns(version.manifest)
    visible = [column for column in columns if column.name not in hidden]
    if learns(version):
        domains = {column.name: _unlimited(column) for column in visible}
    else:
        domains = _from_reference(Path(version.path) / "reference.parquet", visible)
    return [domains.get(column.name) for column in columns]


def _unlimited(column: Feature) -> KnownValues:
    return ANY_NUMBER if column.kind == "numeric" else "any"


def _from_reference(path: Path, columns: Sequence[Feature]) -> dict[str, KnownValues]:
    domains: dict[str, KnownValues] = {}
    with pq.ParquetFile(path) as file:
        places = {name: place for place, name in enumerate(file.schema_arrow.names)}
        for column in columns:
            if column.name not in places and not column.input:  # a summary newer than the file
                domains[column.name] = ANY_NUMBER
                continue
            span = column.kind == "numeric" and _range(file.metadata, places[column.name])
            domains[column.name] = span or _read(file, column)
    return domains


def _range(metadata: pq.FileMetaData, place: int) -> Range | None:
    """Return a column's range from the file's statistics, which omit NaN.

    Return None if the statistics have no finite range, so that the column must be read.
    """
    parts: Sequence[Any] = [
        metadata.row_group(group).column(place).statistics
        for group in range(metadata.num_row_groups)
    ]
    if not parts or not all(part and part.has_min_max for part in parts):
        return None
    low, high = float(min(part.min for part in parts)), float(max(part.max for part in parts))
    return (low, high) if isfinite(low) and isfinite(high) else None


def _read(file: pq.ParquetFile, feature: Feature) -> KnownValues:
    batches = file.iter_batches(_BATCH, columns=[feature.name], use_threads=False)
    columns = (batch.column(0) for batch in batches)
    if feature.kind == "numeric":
        return bounds(
            column.to_numpy(zero_copy_only=False).astype(np.float64) for column in columns
        )
    return frozenset(category(value) for column in columns for value in _distinct(column))


def _distinct(column: Any) -> list[Any]:
    """Return a column's distinct values without None and NaN."""
    values = column.unique().to_pylist()
    return [value for value in values if value is not None and value == value]  # noqa: PLR0124
