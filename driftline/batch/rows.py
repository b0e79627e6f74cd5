"""Convert table rows to input tensors; rows that do not fit are rejected with a reason."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftline.batch.errors import BatchError
from registry.datatypes import NUMPY
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.manifest import Feature, Manifest

Array = np.ndarray[Any, Any]
Rejects = dict[int, str]  # row of the table -> reason

_LONGEST_VALUE = 80  # characters; longer values are truncated in a reason
_TRUTH = {"true": 1.0, "false": 0.0}
_MISSING_TEXTS = ("", "nan", "na", "n/a", "null", "none")  # missing numbers, lower case


class ReadRows(NamedTuple):
    """The rows of a table, split into accepted and rejected rows."""

    tensors: dict[str, Array]  # by input; one row for each element of `places`
    places: Array  # row numbers of the accepted rows in the table
    rejects: Rejects


class _Values(NamedTuple):
    values: Array
    faulty: Array  # mask of values that the feature does not accept
    expected: str


def require_columns(manifest: Manifest, schema: pa.Schema, name: str) -> None:
    """Raise BatchError if a column is missing or its type does not fit the feature."""
    types = {spec.name: spec.datatype for spec in signature(manifest).inputs}
    missing = [feature.name for feature in manifest.features if feature.name not in schema.names]
    if missing:
        raise BatchError(
            f"{name}: no column {', '.join(map(repr, missing))}; expected the features "
            f"{', '.join(feature.name for feature in manifest.features)}"
        )
    if len(set(schema.names)) < len(schema.names):
        raise BatchError(f"{name}: two columns have the same name")
    for feature in manifest.features:
        kind, takes_text = schema.field(feature.name).type, types[feature.input] == "BYTES"
        if not (_is_text(kind) if takes_text else _is_number(kind) or _is_text(kind)):
            expected = "texts" if takes_text else "numbers"
            raise BatchError(
                f"{name}: column {feature.name!r} contains {kind}; expected {expected}"
            )


def read_rows(manifest: Manifest, table: pa.Table) -> ReadRows:
    """Convert the rows that fit the manifest's features; reject the other rows."""
    datatypes = {spec.name: spec.datatype for spec in signature(manifest).inputs}
    rejects: Rejects = {}
    columns: dict[str, Array] = {}
    for feature in manifest.features:
        datatype, column = datatypes[feature.input], table.column(feature.name)
        read = _texts(feature, column) if datatype == "BYTES" else _numbers(
            feature, column, NUMPY[datatype], datatype
        )  # fmt: skip
        columns[feature.name] = read.values
        if read.faulty.any():
            for row in np.flatnonzero(read.faulty).tolist():
                rejects.setdefault(row, _reason(feature, column[row].as_py(), read.expected))
    places = np.arange(len(table))
    if rejects:
        places = np.setdiff1d(places, np.fromiter(rejects, dtype=np.int64, count=len(rejects)))
        columns = {name: values[places] for name, values in columns.items()}
    return ReadRows(_tensors(manifest, columns, len(places)), places, rejects)


def _tensors(manifest: Manifest, columns: Mapping[str, Array], rows: int) -> dict[str, Array]:
    return to_tensors(manifest, columns) if rows else {}


def _texts(feature: Feature, column: pa.ChunkedArray) -> _Values:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.to_numpy(zero_copy_only=False)
    missing = np.asarray(column.is_null())
    if missing.any():
        values = values.copy()
        values[missing] = ""
    faulty = missing if not feature.nullable else np.zeros(len(column), dtype=bool)
    return _Values(values, faulty, "a text")


def _numbers(
    feature: Feature, column: pa.ChunkedArray, dtype: np.dtype[Any], datatype: str
) -> _Values:
    expected = f"a number that fits {datatype}"
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    numbers, faulty = _to_numbers(column, whole=dtype.kind in "iu")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = numbers.astype(dtype)
    if dtype.kind in "iub":
        return _Values(cast, faulty | (cast != numbers), expected)
    missing = np.isnan(cast)
    overflowed = np.isinf(cast) & ~np.isinf(numbers.astype(np.float64))
    faulty |= overflowed | (missing & (not feature.nullable))
    return _Values(cast, faulty, expected)


def _to_numbers(column: pa.ChunkedArray, *, whole: bool) -> tuple[Array, Array]:
    """Return the numbers of a column, and a mask of values that are not numbers.

    A missing value is NaN. With `whole`, it counts as not a number instead: the column must stay
    an integer array, because floats would round large integers.
    """
    if _is_text(column.type):
        return _parsed(column, whole=whole)
    none = np.zeros(len(column), dtype=bool)
    if not column.null_count and _is_plain(column.type):
        return column.to_numpy(zero_copy_only=False), none
    if whole and pa.types.is_integer(column.type):
        return column.fill_null(0).to_numpy(), np.asarray(column.is_null())
    return column.cast(pa.float64()).fill_null(np.nan).to_numpy(), none


def _parsed(column: pa.ChunkedArray, *, whole: bool) -> tuple[Array, Array]:
    """Return texts as numbers, and a mask of the texts that are not numbers."""
    kind, missing = (pa.int64(), 0) if whole else (pa.float64(), np.nan)
    try:
        numbers = pc.cast(column, kind).fill_null(missing).to_numpy()
    except pa.ArrowInvalid:
        return _parsed_singly(column.to_pylist(), whole=whole)
    return numbers, np.asarray(column.is_null()) if whole else np.zeros(len(column), dtype=bool)


def _parsed_singly(texts: list[str | None], *, whole: bool) -> tuple[Array, Array]:
    values = np.zeros(len(texts), np.int64) if whole else np.full(len(texts), np.nan)
    faulty = np.zeros(len(texts), dtype=bool)
    for row, text in enumerate(texts):
        if text is None or text.strip().lower() in _MISSING_TEXTS:
            faulty[row] = whole
            continue
        if "_" in text:  # Python would accept 1_000
            faulty[row] = True
            continue
        try:
            values[row] = _whole(text) if whole else _number(text)
        except (ValueError, OverflowError):
            faulty[row] = True
    return values, faulty


def _number(text: str) -> float:
    truth = _TRUTH.get(text.strip().lower())
    return float(text) if truth is None else truth


def _whole(text: str) -> int:
    """Return a text as a whole number; raises ValueError or OverflowError if it is not one."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)


def _reason(feature: Feature, value: object, expected: str) -> str:
    shown = "no value" if value is None else repr(value)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}..."
    null = "or no value" if feature.nullable else "a missing value is refused"
    return f"feature {feature.name!r}: expected {expected} ({null}), got {shown}"


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text: bool = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or bool(pa.types.is_null(kind))


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _is_plain(kind) or bool(pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _is_plain(kind: pa.DataType) -> bool:
    plain: bool = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return plain or bool(pa.types.is_boolean(kind))
