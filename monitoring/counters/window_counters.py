"""Everything that is counted of all rows of a window, sampled or not, lives here.

Counts add up: those of parts, however a window is taken apart and in whatever order they are put
together, are those of the whole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from monitoring.counters.exact_sum import ExactSum, whole
from monitoring.counters.plain_values import MISSING, OUTSIDE, category, number

if TYPE_CHECKING:
    from monitoring.counters.reference_domain import Array

Pair = tuple[Any, Any]  # what was true and what was predicted: numbers or texts

MOST_NAMES = 50  # maximum classes counted by name
_LONGEST_NAME = 100


class InputCounters(msgspec.Struct):
    """The number of missing values, and of those that the reference does not contain."""

    rows: int = 0  # whose values were looked at
    withheld: int = 0  # whose payload was not kept
    summarized: int = 0  # rows whose summaries were examined
    missing: list[int] = []  # by monitored column, in the manifest's order
    outside: list[int] = []  # beyond the reference's range, or of a category it does not have

    def add(self, odd: "Array", ordinary: int = 0) -> None:
        """Count rows by what is odd about them (`Domain.odd`), and some without anything odd."""
        self.merge(
            InputCounters(
                rows=len(odd) + ordinary,
                missing=(odd == MISSING).sum(axis=0).tolist(),
                outside=(odd == OUTSIDE).sum(axis=0).tolist(),
            )
        )

    def add_summaries(self, odd: "Array") -> None:
        """Count rows that have only summaries; `odd` has a row for each that is not ordinary."""
        self.add(odd)
        self.rows -= len(odd)
        self.summarized += len(odd)

    def merge(self, other: "InputCounters") -> None:
        """Add the counts of other counters."""
        self.rows += other.rows
        self.withheld += other.withheld
        self.summarized += other.summarized
        self.missing = _sums(self.missing, other.missing)
        self.outside = _sums(self.outside, other.outside)


def _sums(some: list[int], others: list[int]) -> list[int]:
    return [count + other for count, other in zip_longest(some, others, fillvalue=0)]


class ConfusionMatrix(msgspec.Struct):
    """The confusion matrix of a classification: rows by label and prediction."""

    rows: int = 0
    hits: int = 0
    cells: dict[str, dict[str, int]] = {}  # rows, by what was true and what was predicted
    crowded: bool = False  # more classes than MOST_NAMES: there are no cells

    def add(self, pairs: Iterable[Pair]) -> None:
        """Count rows."""
        for (truth, predicted), rows in Counter(pairs).items():
            true, prediction = category(truth), category(predicted)
            self.rows += rows
            self.hits += rows * (true == prediction)
            self._count(true, prediction, rows)

    def remove(self, pairs: Iterable[Pair]) -> None:
        """Take rows back that were counted."""
        for (truth, predicted), rows in Counter(pairs).items():
            true, prediction = category(truth), category(predicted)
            self.rows -= rows
            self.hits -= rows * (true == prediction)
            row = self.cells.get(true, {})
            if prediction in row:
                row[prediction] -= rows
                if not row[prediction]:
                    del row[prediction]
            if true in self.cells and not row:
                del self.cells[true]

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another one."""
        self.rows += other.rows
        self.hits += other.hits
        self.crowded |= other.crowded
        for true, row in other.cells.items():
            for prediction, rows in row.items():
                self._count(true, prediction, rows)
        self._bound()

    @property
    def names(self) -> set[str]:
        """The classes that were true or predicted."""
        return set(self.cells).union(*self.cells.values())

    def in_order(self) -> "ConfusionMatrix":
        """Return a copy in a canonical order."""
        cells = {true: dict(sorted(self.cells[true].items())) for true in sorted(self.cells)}
        return replace(self, cells=cells)

    def _count(self, true: str, prediction: str, rows: int) -> None:
        if self.crowded:
            return
        row = self.cells.setdefault(true, {})
        before = row.get(prediction)
        row[prediction] = rows + (before or 0)
        if before is None:
            self._bound()

    def _bound(self) -> None:
        """Bound the number of names, independent of their order."""
        names = self.names
        if self.crowded or len(names) > MOST_NAMES or any(len(n) > _LONGEST_NAME for n in names):
            self.crowded, self.cells = True, {}


class ErrorSums(msgspec.Struct):
    """Error sums of a regression: prediction minus label."""

    rows: int = 0
    undefined: int = 0  # rows whose error is not a finite number; not in the sums
    errors: ExactSum = ExactSum()
    absolute: ExactSum = ExactSum()
    squares: ExactSum = ExactSum()

    def add(self, pairs: Iterable[Pair]) -> None:
        """Count rows; a label that is not a number is not counted."""
        true = [(number(truth), predicted) for truth, predicted in pairs]
        errors = [number(predicted) - truth for truth, predicted in true if isfinite(truth)]
        finite = [error for error in errors if isfinite(error)]
        self.rows += len(errors)
        self.undefined += len(errors) - len(finite)
        numerators, shift = whole(finite)
        self.errors += ExactSum.of(sum(numerators), shift)
        self.absolute += ExactSum.of(sum(map(abs, numerators)), shift)
        self.squares += ExactSum.of(
            sum(numerator * numerator for numerator in numerators), 2 * shift
        )

    def remove(self, pairs: Iterable[Pair]) -> None:
        """Take rows back that were counted."""
        gone = ErrorSums()
        gone.add(pairs)
        opposite = ErrorSums(
            -gone.rows, -gone.undefined, -gone.errors, -gone.absolute, -gone.squares
        )
        self.merge(opposite)

    def merge(self, other: "ErrorSums") -> None:
        """Add the counts of another one."""
        self.rows += other.rows
        self.undefined += other.undefined
        self.errors += other.errors
        self.absolute += other.absolute
        self.squares += other.squares


class LabelCounters(msgspec.Struct):
    """Counters of every labelled row: a confusion matrix or error sums."""

    confusion: ConfusionMatrix = msgspec.field(default_factory=ConfusionMatrix)
    errors: ErrorSums = msgspec.field(default_factory=ErrorSums)

    def merge(self, other: "LabelCounters") -> None:
        """Add the counts of another one."""
        self.confusion.merge(other.confusion)
        self.errors.merge(other.errors)

    def corrected(
        self, before: Sequence[Pair], after: Sequence[Pair], *, regression: bool
    ) -> "LabelCounters":
        """Return a copy in canonical order, with some rows counted differently."""
        ordered = self.in_order()
        counters = ordered.errors if regression else ordered.confusion
        counters.remove(before)
        counters.add(after)
        return ordered.in_order()

    def in_order(self) -> "LabelCounters":
        """Return a copy in a canonical order; later counts do not change it."""
        return LabelCounters(self.confusion.in_order(), replace(self.errors))
