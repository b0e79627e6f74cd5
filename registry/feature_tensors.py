"""Convert named features to input tensors and back.

A feature's values are column `index` of the tensor `input`; the manifest states both. A tensor of
shape [N] or [N, 1] contains one feature, a tensor of shape [N, k] contains k features. A missing
number is NaN in tensors and columns. A missing category is "" in tensors and None in columns.

Every function needs a manifest that `register` has completed: it has a signature, and each feature
names an input.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from eventlog.events import Tensor
from registry.datatypes import NUMPY, is_floating
from registry.errors import InvalidFeatures
from registry.features import signature, width
from registry.manifest import Feature, Manifest, TensorSpec

Array = np.ndarray[Any, Any]
_INFINITIES = {"Infinity": float("inf"), "-Infinity": float("-inf")}
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # covers int64 and uint64


def to_tensors(
    manifest: Manifest, columns: Mapping[str, Sequence[Any] | Array]
) -> dict[str, Array]:
    """Convert N values per feature to the model's input arrays, by input name.

    Each array has its input's dtype and shape [N], [N, 1] or [N, k]. Columns that are not features
    are ignored.

    Raises InvalidFeatures if a feature is missing, column lengths differ or a value is invalid. For
    an invalid value, the error states row (from 0), feature and expected value.
    """
    rows = _row_count(manifest, columns)
    return {
        spec.name: _input_array(
            spec, [f for f in manifest.features if f.input == spec.name], columns, rows
        )
        for spec in signature(manifest).inputs
    }


def to_columns(manifest: Manifest, inputs: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """Convert an event's input tensors to one list of values per feature, in the manifest's order.

    Numeric columns contain numbers and NaN. Categorical columns contain strings, numbers, booleans
    and None.

    Raises InvalidFeatures if an input is missing or unreadable, or has the wrong number of values.
    """
    specs = {spec.name: spec for spec in signature(manifest).inputs}
    decoded = {name: _decode_values(name, tensor) for name, tensor in inputs.items()}
    return {f.name: _read_column(f, width(specs[f.input]), decoded) for f in manifest.features}


def _decode_values(name: str, tensor: Tensor) -> Tensor:
    """Decode a tensor's raw values to a list, once for all features of the tensor."""
    try:
        if not tensor.raw and tensor.raw_at is None:
            return tensor
        return replace(tensor, data=tensor.values(), raw="", raw_at=None)
    except ValueError as error:
        raise InvalidFeatures(f"input {name!r}: {error}") from None


def _row_count(manifest: Manifest, columns: Mapping[str, Sequence[Any] | Array]) -> int:
    missing = [f.name for f in manifest.features if f.name not in columns]
    if missing:
        raise InvalidFeatures(
            f"missing feature{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}; "
            f"expected {', '.join(f.name for f in manifest.features)}"
        )
    lengths = {f.name: len(columns[f.name]) for f in manifest.features}
    if len(set(lengths.values())) > 1:
        raise InvalidFeatures(f"every feature needs the same number of values, got {lengths}")
    return next(iter(lengths.values()))


def _input_array(
    spec: TensorSpec,
    features: list[Feature],
    columns: Mapping[str, Sequence[Any] | Array],
    rows: int,
) -> Array:
    array = np.empty((rows, width(spec)), dtype=NUMPY[spec.datatype])
    for feature in features:
        encode = _strings if spec.datatype == "BYTES" else _numbers
        array[:, feature.index] = encode(feature, spec.datatype, columns[feature.name])
    return array[:, 0] if len(spec.shape) == 1 else array


def _strings(feature: Feature, datatype: str, values: Sequence[Any] | Array) -> list[str]:
    return [
        value if type(value) is str else _string(feature, datatype, row, value)
        for row, value in enumerate(values)
    ]


def _string(feature: Feature, datatype: str, row: int, value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if _missing(value) and feature.nullable:
        return ""
    raise _invalid_value(feature, datatype, row, value)


def _numbers(feature: Feature, datatype: str, values: Sequence[Any] | Array) -> Array:
    dtype = NUMPY[datatype]
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        numeric = values
    else:
        numbers = [_number(feature, datatype, row, value) for row, value in enumerate(values)]
        if not is_floating(np.empty(0, dtype)):
            return _integers(feature, datatype, numbers, values)
        numeric = np.array(numbers, np.float64)
    cast, invalid = _cast(numeric, dtype, nullable=feature.nullable)
    if invalid.any():
        row = int(invalid.argmax())
        raise _invalid_value(feature, datatype, row, values[row])
    return cast


def _cast(numbers: Array, dtype: np.dtype[Any], *, nullable: bool) -> tuple[Array, Array]:
    """Return the values as `dtype`, and a mask of the invalid values."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = numbers.astype(dtype)
    if not is_floating(cast):
        return cast, cast != numbers
    missing = np.isnan(cast)
    overflowed = np.isinf(cast) & ~np.isinf(numbers.astype(np.float64))
    return cast, overflowed | (missing & (not nullable))


def _integers(
    feature: Feature, datatype: str, numbers: Sequence[float | int], values: Sequence[Any] | Array
) -> Array:
    """Convert each number separately, because float64 in a mixed array would round large ints."""
    dtype = NUMPY[datatype]
    smallest, largest = (0, 1) if dtype.kind == "b" else _bounds(dtype)
    for row, number in enumerate(numbers):
        if not (smallest <= number <= largest and number == int(number)):
            raise _invalid_value(feature, datatype, row, values[row])
    array: Array = np.array([int(number) for number in numbers], dtype)
    return array


def _bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _number(feature: Feature, datatype: str, row: int, value: object) -> float | int:
    """Convert a value to a Python number: None to NaN, "Infinity" and "-Infinity" to infinities."""
    if _missing(value):
        return float("nan")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value
    if isinstance(value, int) and _SMALLEST <= value <= _LARGEST:
        return value
    if isinstance(value, str) and value in _INFINITIES:
        return _INFINITIES[value]
    raise _invalid_value(feature, datatype, row, value)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124


def _invalid_value(feature: Feature, datatype: str, row: int, value: object) -> InvalidFeatures:
    plain = value.item() if isinstance(value, np.generic) else value
    what = "a string" if datatype == "BYTES" else f"a number that fits {datatype}"
    null = "or null" if feature.nullable else "not null"
    shown = "null" if plain is None else reprlib.repr(plain)
    return InvalidFeatures(
        f"row {row}, feature {feature.name!r}: expected {what} ({null}), got {shown}"
    )


def _read_column(feature: Feature, per_row: int, inputs: Mapping[str, Tensor]) -> list[Any]:
    """Return a feature's values from its input, which has `per_row` values per row."""
    tensor = inputs.get(feature.input)
    if tensor is None:
        raise InvalidFeatures(
            f"missing input {feature.input!r}, expected for feature {feature.name!r}; "
            f"got {', '.join(inputs) or 'none'}"
        )
    rows = tensor.shape[0] if tensor.shape else 1
    if len(tensor.data) != rows * per_row:
        raise InvalidFeatures(
            f"input {feature.input!r}: expected {per_row} values in each of {rows} "
            f"rows, got {len(tensor.data)} values"
        )
    values = tensor.data[feature.index :: per_row]
    decode = _numeric if feature.kind == "numeric" else category
    return [decode(feature, value) for value in values]


def _numeric(feature: Feature, value: Any) -> Any:
    if value is None:
        return float("nan")
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or value not in _INFINITIES:
        raise InvalidFeatures(f"feature {feature.name!r}: expected a number, got {value!r:.80}")
    return _INFINITIES[value]


def category(feature: Feature, value: Any) -> Any:
    """Return a category as it is stored in columns, or None if it is missing."""
    if type(value) is str and value:  # fast path for the most frequent type
        return value
    if _missing(value) or (value == "" and feature.nullable):
        return None
    if isinstance(value, list | dict):
        raise InvalidFeatures(f"feature {feature.name!r}: expected a category, got {value!r:.80}")
    if isinstance(value, float) and value.is_integer():
        return int(value)  # a category code from a float tensor
    return value
