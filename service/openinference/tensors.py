"""Arrays as the event log and JSON write them: flat lists that hold no NaN and no infinity."""

from math import inf, isfinite
from typing import Any

from eventlog.events import Tensor
from service.openinference.messages import Array

_SPELLED = {inf: "Infinity", -inf: "-Infinity"}


def to_tensor(datatype: str, array: Array) -> Tensor:
    """The array as an event carries it: NaN as None, infinities as in proto3's JSON."""
    values = flat(array)
    if array.dtype.kind == "f" and not all_finite(values):
        values = spell(values)
    return Tensor(datatype, list(array.shape), values)


def flat(array: Array) -> list[Any]:
    """The values, row-major, as Python objects."""
    values: list[Any] = (array if array.ndim == 1 else array.ravel()).tolist()
    return values


def all_finite(values: list[float]) -> bool:
    """Whether no value is NaN or infinite."""
    # One addition a value; a sum of finite values that overflows is told apart by the second look.
    return isfinite(sum(values)) or all(map(isfinite, values))


def spell(values: list[float]) -> list[float | str | None]:
    """The values with None for NaN and words for infinities."""
    return [None if value != value else _SPELLED.get(value, value) for value in values]  # noqa: PLR0124
