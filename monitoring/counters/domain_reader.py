"""Read the values of a version's reference that ingestion compares rows with."""

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

_AT_ONCE = 8_192  # rows


def read_domain(version: Version) -> Domain:
    """Read as little as possible: most ranges are in the file's statistics.

    Without a reference every value lies inside, so that missing ones are counted all the same.
    Raises OSError or ValueError if the reference cannot be read.
    """
    return Domain(known_values(version))


def known_values(version: Version) -> list[KnownValues]:
    """Return the reference's domain of each monitored column, as `read_domain` reads it."""
    hidden = unmonitored(version.manifest)
    columns = monitored_columns(version.manifest)
    columns_shown = [column for column in columns if column.name not in hidden]
    if learns(version):
        values_by_column = {column.name: _anything(column) for column in columns_shown}
    else:
        values_by_column = _known(Path(version.path) / "reference.parquet", columns_shown)
    return [values_by_column.get(column.name) for column in columns]


def _anything(column: Feature) -> KnownValues:
    return ANY_NUMBER if column.kind == "numeric" else "any"


def _known(path: Path, columns: Sequence[Feature]) -> dict[str, KnownValues]:
    values_by_column: dict[str, KnownValues] = {}
    with pq.ParquetFile(path) as file:
        places = {name: place for place, name in enumerate(file.schema_arrow.names)}
        for column in columns:
            if column.name not in places and not column.input:  # a summary that it does not have
                values_by_column[column.name] = ANY_NUMBER
                continue
            span = column.kind == "numeric" and _stated(file.metadata, places[column.name])
            values_by_column[column.name] = span or _read(file, column)
    return values_by_column


def _stated(metadata: pq.FileMetaData, place: int) -> Range | None:
    """Return a column's range by the file's statistics, which omit NaN; None: read the column."""
    parts: Sequence[Any] = [
        metadata.row_group(group).column(place).statistics
        for group in range(metadata.num_row_groups)
    ]
    if not parts or not all(part and part.has_min_max for part in parts):
        return None
    low, high = float(min(part.min for part in parts)), float(max(part.max for part in parts))
    return (low, high) if isfinite(low) and isfinite(high) else None


def _read(file: pq.ParquetFile, feature: Feature) -> KnownValues:
    batches = file.iter_batches(_AT_ONCE, columns=[feature.name], use_threads=False)
    columns = (batch.column(0) for batch in batches)
    if feature.kind == "numeric":
        return bounds(
            column.to_numpy(zero_copy_only=False).astype(np.float64) for column in columns
        )
    return frozenset(category(value) for column in columns for value in _different(column))


def _different(column: Any) -> list[Any]:
    """Return the values that are there; a missing one may be NaN."""
    values = column.unique().to_pylist()
    return [value for value in values if value is not None and value == value]  # noqa: PLR0124
