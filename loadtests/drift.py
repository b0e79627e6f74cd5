"""Synthetic drift for rows of a reference. All functions are pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from eventlog.errors import SettingError
from registry.datatypes import NUMPY
from registry.features import signature
from registry.manifest import Feature, Manifest

Columns = Mapping[str, Sequence[Any]]
_Value = TypeVar("_Value")


class Drift(msgspec.Struct, frozen=True):
    """The drift of each column at full strength."""

    shifts: Mapping[str, float] = {}  # column -> shift in standard deviations
    mixes: Mapping[str, tuple[str, float]] = {}  # column -> category, share of rows that get it
    blanks: Mapping[str, float] = {}  # column -> share of rows whose value becomes missing

    def __bool__(self) -> bool:
        """Return whether any column drifts."""
        return bool(self.shifts or self.mixes or self.blanks)


def read_drift(shift: str, mix: str, blank: str, manifest: Manifest) -> Drift:
    """Parse the drift from three options, each a comma-separated list.

    The items have the form column=deviations in `shift`, column=category:share in `mix`, and
    column=share in `blank`. Raises SettingError if an item is invalid or does not fit the model.
    """
    shifts = _read("shift", shift, float)
    mixes = _read("mix", mix, _category)
    blanks = _read("blank", blank, _share)
    features = {feature.name: feature for feature in manifest.features}
    for option, columns in (("shift", shifts), ("mix", mixes), ("blank", blanks)):
        unknown = sorted(columns.keys() - features.keys())
        if unknown:
            raise SettingError(
                f"--{option}: the model has no feature {unknown[0]!r}; "
                f"expected one of {', '.join(features)}"
            )
    for name in shifts:
        _require(features[name].kind == "numeric", "shift", name, "a numeric feature")
    for name in mixes:
        _require(features[name].kind == "categorical", "mix", name, "a categorical feature")
    for name in blanks:
        _require(features[name].nullable, "blank", name, "a nullable feature")
    return Drift(shifts, mixes, blanks)


def apply_drift(
    columns: Columns, drift: Drift, strength: float, manifest: Manifest, seed: int = 0
) -> dict[str, list[Any]]:
    """Return the columns with drift of a strength from 0 (none) to 1 (full).

    The seed determines the rows that change. A greater strength changes the same rows and more.
    """
    random = np.random.default_rng(seed)
    changed = {name: list(values) for name, values in columns.items()}
    features = {feature.name: feature for feature in manifest.features}
    for name, deviations in drift.shifts.items():
        by = strength * deviations * _deviation(changed[name])
        convert = _conversion(features[name], manifest)
        changed[name] = [value if value is None else convert(value + by) for value in changed[name]]
    for name, (category, share) in drift.mixes.items():
        value = _parse_category(changed[name], category, name)
        _replace(changed[name], value, strength * share, random)
    for name, share in drift.blanks.items():
        missing = None if features[name].kind == "categorical" else float("nan")
        _replace(changed[name], missing, strength * share, random)
    return changed


def _read(option: str, text: str, read: Callable[[str], _Value]) -> dict[str, _Value]:
    values: dict[str, _Value] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        try:
            values[name] = read(value)
        except ValueError:
            equals = ""
        if not equals:
            shape = {"mix": "column=category:share"}.get(option, "column=number")
            raise SettingError(
                f"--{option}: got {part!r}; expected {shape}, shares between 0 and 1"
            )
    return values


def _share(value: str) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _category(value: str) -> tuple[str, float]:
    category, colon, share = value.rpartition(":")
    if not colon:
        raise ValueError
    return category, _share(share)


def _require(fits: bool, option: str, name: str, expected: str) -> None:  # noqa: FBT001
    if not fits:
        raise SettingError(f"--{option}: column {name!r} does not fit; expected {expected}")


def _deviation(values: Sequence[Any]) -> float:
    numbers = np.array([value for value in values if value is not None], np.float64)
    return float(np.nanstd(numbers)) if len(numbers) else 0.0


def _conversion(feature: Feature, manifest: Manifest) -> Callable[[float], Any]:
    """Return a function that rounds and clips shifted numbers to the feature's datatype."""
    specs = {spec.name: spec for spec in signature(manifest).inputs}
    dtype = NUMPY[specs[feature.input].datatype]
    if dtype.kind == "f":
        return float
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return lambda value: int(min(max(round(value), lowest), highest))


def _parse_category(values: Sequence[Any], category: str, name: str) -> Any:
    """Convert the category to the type of the column's values."""
    kind = next((type(value) for value in values if value is not None), str)
    if kind is bool:
        return category.lower() in {"true", "1"}
    try:
        return kind(category)
    except ValueError:
        raise SettingError(
            f"--mix: column {name!r} has values of type {kind.__name__}; "
            f"expected a category of this type, got {category!r}"
        ) from None


def _replace(
    values: list[Any], replacement: Any, share: float, random: np.random.Generator
) -> None:
    for row in np.flatnonzero(random.random(len(values)) < share):
        values[row] = replacement
