"""Feature values as numeric codes; equal values have the same code, whatever their type."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from eventlog.events import INFINITIES
from monitoring.counters.plain_values import category, number
from monitoring.scoring.score_rules import Array
from monitoring.significant_digits import significant
from registry.manifest import Feature

_SEED = 20130101
_DRAWS = 20  # samples from which the usual share of duplicates is computed
_NUMBERS = frozenset({"floating", "integer", "mixed-integer-float", "boolean", "empty"})


def categories(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Convert values to categories; missing values stay missing.

    The conversion runs once per distinct value.
    """
    try:
        codes, different = pd.factorize(values)
    except TypeError:  # values such as lists have no hash
        return values.map(category, na_action="ignore")
    # The code of a missing value is -1, which selects the last name.
    names = np.array([*map(category, different), None], dtype=object)
    return pd.Series(names[codes], values.index, dtype=object)


def numbers_of(values: "pd.Series[Any]") -> Array:
    """Convert values to finite numbers; other values become NaN."""
    try:
        numbers = np.array(values.tolist(), dtype=float)
    except (TypeError, ValueError, OverflowError):  # some values are no numbers
        numbers = np.array([])
    if numbers.shape != values.shape:  # a column of lists becomes an array of more dimensions
        return values.map(number).to_numpy(dtype=float)
    return np.where(np.isfinite(numbers), numbers, np.nan)


class FeatureValues:
    """One feature's values in a window or in the reference, one per row."""

    def __init__(self, feature: Feature, values: "pd.Series[Any]") -> None:
        """`values` can be of any type, as clients sent them."""
        self.feature = feature
        self._values = values

    def __len__(self) -> int:
        """Return the number of rows, including rows without a value."""
        return len(self._values)

    @cached_property
    def codes(self) -> Array:
        """The code of each row; NaN for rows without a code.

        In a numeric feature, the code of a number is the number itself, also if it is infinite;
        any other value has no code. In a categorical feature, each category has a code.
        """
        if self.feature.kind == "numeric":
            return _numeric_codes(self._values)
        codes, self._names = pd.factorize(categories(self._values))
        return np.where(codes < 0, np.nan, codes.astype(float))

    @cached_property
    def variety(self) -> tuple[int, float]:
        """The number of distinct values, and the share of the most frequent value."""
        if not len(self.known):
            return 0, 0.0
        counts = np.unique(self.known, return_counts=True)[1]
        return len(counts), float(counts.max() / counts.sum())

    @cached_property
    def known(self) -> Array:
        """The codes of all rows that have a code."""
        return self.codes[~np.isnan(self.codes)]

    @cached_property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest finite code; minus and plus infinity if there is none."""
        finite = self.codes[np.isfinite(self.codes)]
        return (float(finite.min()), float(finite.max())) if len(finite) else (-np.inf, np.inf)

    @cached_property
    def missing(self) -> int:
        """The number of rows without a value."""
        return int(self._values.isna().sum())

    def outside(self, expected: "FeatureValues") -> int:
        """Count values outside the range of `expected`, or not among its categories."""
        if self.feature.kind == "numeric":
            low, high = expected.bounds
            return int(((self.known < low) | (self.known > high)).sum())
        present = self.known.astype(int)
        unseen = np.array([str(name) not in expected.categories for name in self._names], bool)
        return int(unseen[present].sum())

    @cached_property
    def categories(self) -> dict[str, float]:
        """The share of each category among the values, keyed by category."""
        rows = len(self.known)
        counts = np.bincount(self.known.astype(int))
        return {str(self._names[code]): count / rows for code, count in enumerate(counts)}

    @cached_property
    def kinds(self) -> dict[str, float]:
        """The shares of "numbers" and "words" among the present values.

        A number as text counts as a word in a numeric feature, and as a number in a categorical
        feature.
        """
        if self.feature.kind == "categorical":
            numeric = sum(share for name, share in self.categories.items() if _is_number(name))
            return _kind_shares(numeric) if self.categories else {}
        present = self._values.dropna()
        if present.empty:
            return {}
        if pd.api.types.infer_dtype(present, skipna=True) in _NUMBERS:
            return {"numbers": 1.0}
        words = present.map(lambda value: isinstance(value, str) and value not in INFINITIES)
        return _kind_shares(1.0 - float(words.mean()))

    def name(self, code: float) -> str:
        """Return the value with this code as text."""
        return f"{code:g}" if self.feature.kind == "numeric" else repr(str(self._names[int(code)]))


class FeatureTable:
    """The features of a window or of the reference that the payload policy logs unchanged."""

    def __init__(
        self, features: Sequence[Feature], frame: pd.DataFrame, order: Sequence[int] = ()
    ) -> None:
        """`order` contains the row numbers in order of event time; empty if rows are in order."""
        self.features = features
        self.order = np.asarray(order if len(order) else range(len(frame)), dtype=np.int64)
        self._frame = frame
        self._values: dict[str, FeatureValues] = {}
        # number of rows -> mean and standard deviation of the share of duplicates
        self._duplicates: dict[int, tuple[float, float]] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._frame)

    def __getitem__(self, feature: Feature) -> FeatureValues:
        """Return a feature's values."""
        values = self._values.get(feature.name)
        if values is None:
            values = self._values[feature.name] = FeatureValues(feature, self._frame[feature.name])
        return values

    @cached_property
    def fingerprints(self) -> Array:
        """A 64-bit hash of each row, the same for rows that are equal in every feature."""
        mixed = np.zeros(len(self), dtype=np.uint64)
        for feature in self.features:
            codes = self[feature].codes + 0.0  # -0.0 becomes 0.0
            codes[np.isnan(codes)] = np.nan  # all NaNs get the same bits
            mixed = _mix(mixed ^ codes.view(np.uint64))
        return mixed

    def usual_duplicates(self, rows: int) -> tuple[float, float]:
        """Return mean and standard deviation of the share of duplicates among `rows` random rows.

        The seed is fixed, so every process computes the same values.
        """
        if rows not in self._duplicates:
            random = np.random.default_rng(_SEED)
            shares = [
                share_of_duplicates(random.choice(self.fingerprints, rows, replace=False))
                for _ in range(_DRAWS)
            ]
            self._duplicates[rows] = float(np.mean(shares)), float(np.std(shares))
        return self._duplicates[rows]


def share_of_duplicates(fingerprints: Array) -> float:
    """Return the share of rows that repeat an earlier row."""
    return significant(1 - len(np.unique(fingerprints)) / len(fingerprints))


def _mix(numbers: Array) -> Array:
    """Mix the bits of each number (the finaliser of SplitMix64)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = numbers ^ (numbers >> np.uint64(31))
    return mixed


def _numeric_codes(values: "pd.Series[Any]") -> Array:
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


def _kind_shares(numeric: float) -> dict[str, float]:
    shares = {"numbers": numeric, "words": 1.0 - numeric}
    return {kind: share for kind, share in shares.items() if share > 0}
