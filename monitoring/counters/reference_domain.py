"""Find the values of rows that are missing or outside a version's reference.

Many rows are compared at once, column by column. Comparing single values would take longer than the
rest of ingestion.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from monitoring.counters.plain_values import MISSING, OUTSIDE, category

Array = np.ndarray[Any, Any]
Range = tuple[float, float]  # the smallest and the largest finite number
# A column's range, its categories, "any" for any category, or None for a column not compared.
KnownValues = Range | frozenset[str] | Literal["any"] | None
ANY_NUMBER: Range = (-math.inf, math.inf)

_MOST_CACHED = 10_000  # categories of a feature whose codes are cached


class Domain:
    """The ranges and categories of a version's reference, by feature."""

    def __init__(self, domains: Sequence[KnownValues]) -> None:
        """Accept a domain for each monitored column, in the order of a row's values."""
        self.width = len(domains)
        ranges = [(n, domain) for n, domain in enumerate(domains) if isinstance(domain, tuple)]
        self._numbers = [place for place, _ in ranges]
        self._are_first = self._numbers == [*range(len(ranges))]  # before the categories
        self._low, self._high = (
            np.array([domain for _, domain in ranges]).reshape(-1, 2, 1).swapaxes(0, 1)
        )
        self._categories = [
            (n, _Categories(domain))
            for n, domain in enumerate(domains)
            if domain == "any" or isinstance(domain, frozenset)
        ]

    def codes(self, rows: Sequence[Sequence[Any]]) -> Array:
        """Return the code of each value (0, MISSING or OUTSIDE), uint8 [rows, columns]."""
        codes = np.zeros((self.width, len(rows)), np.uint8)
        if not rows:
            return codes.T
        numbers = self._numbers_in(rows)
        if numbers is not None:
            codes[self._numbers] = self._of_numbers(numbers)
        if numbers is None or self._categories:
            columns = list(zip(*rows, strict=True))
            if numbers is None and self._numbers:
                codes[self._numbers] = self._of_values([columns[n] for n in self._numbers])
            for place, categories in self._categories:
                codes[place] = categories.codes(columns[place])
        return codes.T

    def _numbers_in(self, rows: Sequence[Sequence[Any]]) -> Array | None:
        """Return the numeric columns, float64 [columns, rows], converted without a transposition.

        Transposing Python objects would take as long as the conversion. Return None if it cannot
        be avoided: a value is not a number, or categories precede numeric columns.
        """
        if not self._are_first or not self._numbers:
            return None
        count = len(self._numbers)
        try:
            return np.array([row[:count] for row in rows], dtype=np.float64).T
        except (TypeError, ValueError, OverflowError):
            return None

    def codes_of_last(self, rows: Sequence[Sequence[Any]]) -> Array:
        """Return the codes of rows that have only the last columns; 0 for the first columns."""
        absent = self.width - len(rows[0]) if rows else 0
        codes = self.codes([[*[None] * absent, *row] for row in rows])
        codes[:, :absent] = 0
        return codes

    def _of_values(self, columns: list[tuple[Any, ...]]) -> Array:
        try:
            numbers = np.array(columns, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            numbers = np.array([[_number(value) for value in column] for column in columns])
        return self._of_numbers(numbers)

    def _of_numbers(self, numbers: Array) -> Array:
        outside = (numbers < self._low) | (numbers > self._high)
        return np.where(np.isnan(numbers), MISSING, outside * np.uint8(OUTSIDE))


class _Categories:
    """The categories of one feature, and a cache of the codes of values."""

    def __init__(self, names: frozenset[str] | Literal["any"]) -> None:
        self._known = names
        self._cache: dict[Any, int] = {}

    def codes(self, column: Sequence[Any]) -> list[int]:
        try:
            codes = list(map(self._cache.get, column))
        except TypeError:  # values such as lists have no hash
            return [self._code(value) for value in column]
        if None not in codes:
            return codes  # type: ignore[return-value] # no value is None
        if len(self._cache) > _MOST_CACHED:
            self._cache.clear()
        self._cache.update((value, self._code(value)) for value in set(column))
        return [self._cache[value] for value in column]

    def _code(self, value: Any) -> int:
        if value is None:
            return MISSING
        return 0 if self._known == "any" or category(value) in self._known else OUTSIDE


def bounds(numbers: Iterable[Array]) -> Range:
    """Return the range of the finite values of float64 arrays, or ANY_NUMBER if none is finite."""
    low, high = np.inf, -np.inf
    for part in numbers:
        finite = part[np.isfinite(part)]
        if len(finite):
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (-np.inf, np.inf)


def _number(value: Any) -> float:
    """Return a float: NaN for None, and an infinity for a value that no float can represent."""
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
    except (TypeError, ValueError):
        return np.inf
