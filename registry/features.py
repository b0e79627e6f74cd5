"""Named features <-> tensors: everything that decides which feature travels where lives here.

A manifest's feature goes into column `index` of input `input`; an input of shape [N] or [N, 1]
carries one feature, one of shape [N, k] carries k. A missing numeric value is NaN on both sides; a
missing categorical one is "" in the tensor and None in the column.

All functions take a completed manifest: signature present, every feature's input filled in.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from eventlog.events import Tensor
from registry.datatypes import NUMPY
from registry.errors import InvalidFeatures, InvalidManifest
from registry.manifest import Feature, Manifest, Signature, TensorSpec

Array = np.ndarray[Any, Any]
_INFINITIES = {"Infinity": float("inf"), "-Infinity": float("-inf")}
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # what any integer datatype holds


def to_tensors(
    manifest: Manifest, columns: Mapping[str, Sequence[Any] | Array]
) -> dict[str, Array]:
    """The model's input arrays, by input name, from one sequence of N values per feature.

    Each array has its input's dtype and shape [N], [N, 1] or [N, k]; columns that are no feature
    are ignored. Raises InvalidFeatures naming the feature and the row (counted from 0) of the
    first value that does not fit, and the value that was expected.
    """
    rows = _row_count(manifest, columns)
    return {
        spec.name: _fill(
            spec, [f for f in manifest.features if f.input == spec.name], columns, rows
        )
        for spec in signature(manifest).inputs
    }


def to_columns(manifest: Manifest, inputs: Mapping[str, Tensor]) -> dict[str, list[Any]]:
    """One list of N values per feature, in the manifest's order, from an event's input tensors.

    Numeric columns hold numbers and NaN, categorical ones strings, integers or booleans and None.
    Raises InvalidFeatures naming the input that is missing or whose shape does not carry its
    features.
    """
    specs = {spec.name: spec for spec in signature(manifest).inputs}
    listed = {name: _listed(name, tensor) for name, tensor in inputs.items()}
    return {f.name: _read(f, width(specs[f.input]), listed) for f in manifest.features}


def _listed(name: str, tensor: Tensor) -> Tensor:
    """The tensor with its values as a list, which is made once and not for each feature."""
    try:
        return replace(tensor, data=tensor.values(), raw="") if tensor.raw else tensor
    except ValueError as error:
        raise InvalidFeatures(f"input {name!r}: {error}") from None


def monitored_columns(manifest: Manifest) -> list[Feature]:
    """Every column of a version's rows: its features, then its summaries as numeric features."""
    summaries = manifest.summaries or []
    return [*manifest.features, *(Feature(s.name, "numeric", nullable=True) for s in summaries)]


def expects_labels(manifest: Manifest) -> bool:
    """Whether labels can be joined to predictions: an output predicts, a target is stated."""
    return bool(manifest.prediction.label and manifest.target)


def signature(manifest: Manifest) -> Signature:
    """The signature of a completed manifest; raises InvalidManifest when it is not completed."""
    if manifest.signature is None:
        raise InvalidManifest("the manifest has no signature: it was not completed by `register`")
    return manifest.signature


def width(spec: TensorSpec) -> int:
    """How many features a tensor of this spec carries per row: 1 for [N] and [N, 1], k for [N, k].

    Raises InvalidManifest for other shapes.
    """
    match spec.shape:
        case [_]:
            return 1
        case [_, columns] if columns > 0:
            return columns
    raise InvalidManifest(
        f"tensor {spec.name!r} has shape {spec.shape}: features travel in tensors of shape "
        "[N], [N, 1] or [N, k] with a fixed k"
    )


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


def _fill(
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
    raise _misfit(feature, datatype, row, value)


def _numbers(feature: Feature, datatype: str, values: Sequence[Any] | Array) -> Array:
    dtype = NUMPY[datatype]
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        given = values
    else:
        numbers = [_number(feature, datatype, row, value) for row, value in enumerate(values)]
        if dtype.kind != "f":
            return _integers(feature, datatype, numbers, values)
        given = np.array(numbers, np.float64)
    cast, faulty = _cast(given, dtype, nullable=feature.nullable)
    if faulty.any():
        row = int(faulty.argmax())
        raise _misfit(feature, datatype, row, values[row])
    return cast


def _cast(given: Array, dtype: np.dtype[Any], *, nullable: bool) -> tuple[Array, Array]:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = given.astype(dtype)
    if dtype.kind != "f":
        return cast, cast != given
    missing = np.isnan(cast)
    overflowed = np.isinf(cast) & ~np.isinf(given.astype(np.float64))
    return cast, overflowed | (missing & (not nullable))


def _integers(
    feature: Feature, datatype: str, numbers: Sequence[float | int], values: Sequence[Any] | Array
) -> Array:
    """Convert each number by itself: an array of mixed numbers would round the large ones."""
    dtype = NUMPY[datatype]
    smallest, largest = (0, 1) if dtype.kind == "b" else _bounds(dtype)
    for row, number in enumerate(numbers):
        if not (smallest <= number <= largest and number == int(number)):
            raise _misfit(feature, datatype, row, values[row])
    array: Array = np.array([int(number) for number in numbers], dtype)
    return array


def _bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _number(feature: Feature, datatype: str, row: int, value: object) -> float | int:
    """Return a value as a Python number: NaN where it is missing, words as infinities."""
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
    raise _misfit(feature, datatype, row, value)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124


def _misfit(feature: Feature, datatype: str, row: int, value: object) -> InvalidFeatures:
    plain = value.item() if isinstance(value, np.generic) else value
    what = "a string" if datatype == "BYTES" else f"a number that fits {datatype}"
    null = "or null" if feature.nullable else "not null"
    return InvalidFeatures(
        f"row {row}, feature {feature.name!r}: expected {what} ({null}), got {reprlib.repr(plain)}"
    )


def _read(feature: Feature, columns: int, inputs: Mapping[str, Tensor]) -> list[Any]:
    tensor = inputs.get(feature.input)
    if tensor is None:
        raise InvalidFeatures(
            f"missing input {feature.input!r}, which carries feature {feature.name!r}; "
            f"got {', '.join(inputs) or 'none'}"
        )
    rows = tensor.shape[0] if tensor.shape else 1
    if len(tensor.data) != rows * columns:
        raise InvalidFeatures(
            f"input {feature.input!r}: expected {columns} values in each of {rows} "
            f"rows, got {len(tensor.data)} values"
        )
    values = tensor.data[feature.index :: columns]
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
    """A category as columns hold it: None where it is missing."""
    if type(value) is str and value:  # most are
        return value
    if _missing(value) or (value == "" and feature.nullable):
        return None
    if isinstance(value, list | dict):
        raise InvalidFeatures(f"feature {feature.name!r}: expected a category, got {value!r:.80}")
    if isinstance(value, float) and value.is_integer():
        return int(value)  # a category code in a tensor of floats is still a code
    return value
