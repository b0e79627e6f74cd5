"""One feature's values as numbers that stand for them, for whatever asks which are the same."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eventlog.events import INFINITIES
from monitoring.scoring.memoize import remembered
from monitoring.scoring.reference import Baseline, categories
from registry.manifest import Feature
from registry.payload import keeping

Array = np.ndarray[Any, Any]

_NUMBERS = frozenset({"floating", "integer", "mixed-integer-float", "boolean", "empty"})


class Values:
    """A feature's values in the rows of a window or of the reference, in their order."""

    def __init__(self, feature: Feature, values: "pd.Series[Any]") -> None:
        """`values` may hold anything."""
        self.feature = feature
        self._values = values

    def __len__(self) -> int:
        """Rows, those without a value as well."""
        return len(self._values)

    @cached_property
    def codes(self) -> Array:
        """One number a row, equal where values are; NaN where there is none.

        Of a numeric feature the value itself, infinities too; what is no number has no code.
        """
        if self.feature.kind == "numeric":
            return _numbers(self._values)
        codes, self._names = pd.factorize(categories(self._values))
        return np.where(codes < 0, np.nan, codes.astype(float))

    @cached_property
    def known(self) -> Array:
        """The codes of the rows that have one."""
        return self.codes[~np.isnan(self.codes)]

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest finite code; of nothing, everything."""
        finite = self.codes[np.isfinite(self.codes)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (-np.inf, np.inf)

    @cached_property
    def missing(self) -> int:
        """Rows without a value."""
        return int(self._values.isna().sum())

    def outside(self, expected: "Values") -> int:
        """How many of the known values are beyond the range, or of none of the categories, of
        the expected ones.
        """
        if self.feature.kind == "numeric":
            low, high = expected.bounds
            return int(((self.known < low) | (self.known > high)).sum())
        known = self.known.astype(int)
        strange = np.array([str(name) not in expected.categories for name in self._names], bool)
        return int(strange[known].sum())

    @cached_property
    def categories(self) -> dict[str, float]:
        """Share of the known values, by category."""
        rows = len(self.known)
        counts = np.bincount(self.known.astype(int))
        return {str(self._names[code]): count / rows for code, count in enumerate(counts)}

    @cached_property
    def kinds(self) -> dict[str, float]:
        """Share of the values that are there, by what they are: "numbers" or "words".

        A number as text is a word among numbers and a number among words.
        """
        if self.feature.kind == "categorical":
            numeric = sum(share for name, share in self.categories.items() if _is_number(name))
            return _shares(numeric) if self.categories else {}
        there = self._values.dropna()
        if there.empty:
            return {}
        if pd.api.types.infer_dtype(there, skipna=True) in _NUMBERS:
            return {"numbers": 1.0}
        words = there.map(lambda value: isinstance(value, str) and value not in INFINITIES)
        return _shares(1.0 - float(words.mean()))

    def name(self, code: float) -> str:
        """How the value with this code is written."""
        return f"{code:g}" if self.feature.kind == "numeric" else repr(str(self._names[int(code)]))


class Table:
    """The features of a window or of the reference whose values are in the log as they came."""

    def __init__(
        self, features: Sequence[Feature], frame: pd.DataFrame, order: Sequence[int] = ()
    ) -> None:
        """`order` are the numbers of the rows in the order of event time; empty: as they are."""
        self.features = features
        self.order = np.asarray(order if len(order) else range(len(frame)), dtype=np.int64)
        self._frame = frame
        self._values: dict[str, Values] = {}

    def __len__(self) -> int:
        """Rows."""
        return len(self._frame)

    def __getitem__(self, feature: Feature) -> Values:
        """The values of one feature."""
        known = self._values.get(feature.name)
        if known is None:
            known = self._values[feature.name] = Values(feature, self._frame[feature.name])
        return known


def window_table(baseline: Baseline, window: pd.DataFrame, order: Sequence[int] = ()) -> Table:
    """A window's features."""
    return Table(keeping(baseline.manifest).features, window, order)


@remembered
def reference_table(baseline: Baseline) -> Table:
    """The reference's features, in the order in which it was registered."""
    return Table(keeping(baseline.manifest).features, baseline.frame)


def _numbers(values: "pd.Series[Any]") -> Array:
    try:
        return values.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):
        return np.array([_number(value) for value in values], dtype=float)


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
    except (TypeError, ValueError):
        return np.nan


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()


def _shares(numeric: float) -> dict[str, float]:
    told = {"numbers": numeric, "words": 1.0 - numeric}
    return {kind: share for kind, share in told.items() if share > 0}
