"""Count missing values, values outside the reference and labels over all rows of a window.

The counters include rows that are not sampled. Counters of parts of a window, added in any order,
equal the counters of the whole window.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from monitoring.counters.exact_sum import ExactSum, to_integers
from monitoring.counters.plain_values import MISSING, OUTSIDE, category, number

if TYPE_CHECKING:
    from monitoring.counters.reference_domain import Array

Pair = tuple[Any, Any]  # label and prediction: numbers or texts

MOST_NAMES = 50  # maximum classes of a confusion matrix
_LONGEST_NAME = 100  # maximum characters of a class


class InputCounters(msgspec.Struct):
    """Counters of missing values and of values outside the reference, by monitored column."""

    rows: int = 0  # rows whose payload was logged completely
    withheld: int = 0  # all other rows
    summarized: int = 0  # withheld rows whose summaries were logged
    missing: list[int] = []  # number of missing values by column, in the manifest's order
    outside: list[int] = []  # number of values outside the reference by column

    def add(self, codes: "Array", inside: int = 0) -> None:
        """Count rows by their codes (`Domain.codes`), and `inside` rows whose codes are all 0."""
        self.merge(
            InputCounters(
                rows=len(codes) + inside,
                missing=(codes == MISSING).sum(axis=0).tolist(),
                outside=(codes == OUTSIDE).sum(axis=0).tolist(),
            )
        )

    def add_summaries(self, codes: "Array") -> None:
        """Count rows that have only summaries, by their codes (`Domain.codes_of_last`)."""
        self.add(codes)
        self.rows -= len(codes)
        self.summarized += len(codes)

    def merge(self, other: "InputCounters") -> None:
        """Add other counters."""
        self.rows += other.rows
        self.withheld += other.withheld
        self.summarized += other.summarized
        self.missing = _sums(self.missing, other.missing)
        self.outside = _sums(self.outside, other.outside)


def _sums(counts: list[int], others: list[int]) -> list[int]:
    return [count + other for count, other in zip_longest(counts, others, fillvalue=0)]


class ConfusionMatrix(msgspec.Struct):
    """The confusion matrix of a classification: rows by label and prediction."""

    rows: int = 0
    hits: int = 0  # rows whose prediction equals the label
    cells: dict[str, dict[str, int]] = {}  # label: {prediction: rows}
    crowded: bool = False  # whether there are no cells, because of too many or too long classes

    def add(self, pairs: Iterable[Pair]) -> None:
        """Count labelled rows."""
        for pair, rows in Counter(pairs).items():
            label, prediction = map(category, pair)
            self.rows += rows
            self.hits += rows * (label == prediction)
            self._count(label, prediction, rows)

    def remove(self, pairs: Iterable[Pair]) -> None:
        """Subtract labelled rows that were counted before."""
        for pair, rows in Counter(pairs).items():
            label, prediction = map(category, pair)
            self.rows -= rows
            self.hits -= rows * (label == prediction)
            row = self.cells.get(label, {})
            if prediction in row:
                row[prediction] -= rows
                if not row[prediction]:
                    del row[prediction]
            if label in self.cells and not row:
                del self.cells[label]

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another matrix."""
        self.rows += other.rows
        self.hits += other.hits
        self.crowded |= other.crowded
        for label, row in other.cells.items():
            for prediction, rows in row.items():
                self._count(label, prediction, rows)
        self._bound()

    @property
    def names(self) -> set[str]:
        """The classes of the labels and predictions."""
        return set(self.cells).union(*self.cells.values())

    def in_order(self) -> "ConfusionMatrix":
        """Return a copy with sorted cells."""
        cells = {label: dict(sorted(self.cells[label].items())) for label in sorted(self.cells)}
        return replace(self, cells=cells)

    def _count(self, label: str, prediction: str, rows: int) -> None:
        if self.crowded:
            return
        row = self.cells.setdefault(label, {})
        before = row.get(prediction)
        row[prediction] = rows + (before or 0)
        if before is None:
            self._bound()

    def _bound(self) -> None:
        """Delete the cells if there are too many classes, whatever the order of rows."""
        names = self.names
        if self.crowded or len(names) > MOST_NAMES or any(len(n) > _LONGEST_NAME for n in names):
            self.crowded, self.cells = True, {}


class ErrorSums(msgspec.Struct):
    """Sums of a regression's errors; an error is the prediction minus the label."""

    rows: int = 0
    undefined: int = 0  # rows whose error is not finite; the sums omit them
    errors: ExactSum = ExactSum()
    absolute: ExactSum = ExactSum()  # sum of absolute errors
    squares: ExactSum = ExactSum()  # sum of squared errors

    def add(self, pairs: Iterable[Pair]) -> None:
        """Count labelled rows; a row whose label is not a finite number is skipped."""
        labelled = [(number(label), prediction) for label, prediction in pairs]
        errors = [number(prediction) - label for label, prediction in labelled if isfinite(label)]
        finite = [error for error in errors if isfinite(error)]
        self.rows += len(errors)
        self.undefined += len(errors) - len(finite)
        numerators, shift = to_integers(finite)
        self.errors += ExactSum.of(sum(numerators), shift)
        self.absolute += ExactSum.of(sum(map(abs, numerators)), shift)
        self.squares += ExactSum.of(
            sum(numerator * numerator for numerator in numerators), 2 * shift
        )

    def remove(self, pairs: Iterable[Pair]) -> None:
        """Subtract labelled rows that were counted before."""
        sums = ErrorSums()
        sums.add(pairs)
        negative = ErrorSums(
            -sums.rows, -sums.undefined, -sums.errors, -sums.absolute, -sums.squares
        )
        self.merge(negative)

    def merge(self, other: "ErrorSums") -> None:
        """Add other sums."""
        self.rows += other.rows
        self.undefined += other.undefined
        self.errors += other.errors
        self.absolute += other.absolute
        self.squares += other.squares


class LabelCounters(msgspec.Struct):
    """Counters of all labelled rows: a confusion matrix for classes, error sums for numbers."""

    confusion: ConfusionMatrix = msgspec.field(default_factory=ConfusionMatrix)
    errors: ErrorSums = msgspec.field(default_factory=ErrorSums)

    def merge(self, other: "LabelCounters") -> None:
        """Add other counters."""
        self.confusion.merge(other.confusion)
        self.errors.merge(other.errors)

    def corrected(
        self, before: Sequence[Pair], after: Sequence[Pair], *, regression: bool
    ) -> "LabelCounters":
        """Return a sorted copy in which the pairs `after` replace the pairs `before`."""
        ordered = self.in_order()
        counters = ordered.errors if regression else ordered.confusion
        counters.remove(before)
        counters.add(after)
        return ordered.in_order()

    def in_order(self) -> "LabelCounters":
        """Return a sorted copy, which later counts do not change."""
        return LabelCounters(self.confusion.in_order(), replace(self.errors))
