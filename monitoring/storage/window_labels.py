"""Labels that people set in review, applied to a window's rows and counters. Pure.

If a row also has a caller's label, the reviewed label replaces it and counts with weight 1. The
other reviewed rows have their own weights (`reviews/weights.py`), whether they are sampled or not.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from eventlog.events import Label
from monitoring.counters.plain_values import category
from monitoring.counters.window_counters import LabelCounters
from monitoring.reviews.rows import PickedRow
from monitoring.reviews.selection import Place
from monitoring.reviews.weights import label_weights
from monitoring.storage import rows as stored_rows
from monitoring.storage.rows import SampledRow
from registry.own_columns import own_name

WEIGHT = "weight"  # name of the column with the labels' weights
Cells = dict[str, dict[str, float]]  # weighted rows by actual and predicted class


class WindowLabels(msgspec.Struct, frozen=True):
    """The reviewed rows of a window."""

    corrected: dict[Place, tuple[PickedRow, Label]] = {}  # rows with their caller's label
    only_reviewed: list[PickedRow] = []  # rows without a caller's label

    @classmethod
    def of(
        cls, decided: Sequence[PickedRow], label: Callable[[Place], Label | None]
    ) -> "WindowLabels":
        """Separate reviewed rows by whether `label` finds a label that a caller sent."""
        corrected: dict[Place, tuple[PickedRow, Label]] = {}
        only_reviewed: list[PickedRow] = []
        for row in decided:
            place = row.joined_by, row.row
            if (stored := label(place)) is None:
                only_reviewed.append(row)
            else:
                corrected[place] = row, stored
        return cls(corrected, only_reviewed)

    @property
    def weights(self) -> list[float]:
        """The weights of the rows without a caller's label."""
        return label_weights([row.stored.inclusion for row in self.only_reviewed])

    def columns(
        self, names: Sequence[str], only: Collection[str] | None = None
    ) -> dict[str, list[Any]]:
        """Return the rows without a caller's label, by column; `only` limits the columns."""
        bodies = [stored_rows.encode(row.stored.values) for row in self.only_reviewed]
        labels = [stored_rows.encode(row.label) for row in self.only_reviewed]
        return stored_rows.by_column(names, bodies, labels, only) if bodies else {}

    def sample(self, sampled: Sequence[SampledRow]) -> list[bytes | None]:
        """Return the labels of sampled rows; None for rows that have their own weight."""
        labels: list[bytes | None] = []
        only_reviewed = {(row.joined_by, row.row) for row in self.only_reviewed}
        for row in sampled:
            _, name, number = row.place
            change = self.corrected.get((name, number))
            if change is not None:
                labels.append(stored_rows.encode(change[0].label))
            else:
                labels.append(None if (name, number) in only_reviewed else row.label)
        return labels

    def table(self, names: Sequence[str], sampled: Sequence[SampledRow]) -> dict[str, list[Any]]:
        """Return sampled and reviewed rows as columns.

        If the window has reviewed rows, the column before the labels contains the weights.
        """
        if not self.only_reviewed and not self.corrected:
            return stored_rows.by_column(
                names, [row.body for row in sampled], [row.label for row in sampled]
            )
        weights = dict(
            zip([(row.joined_by, row.row) for row in self.only_reviewed], self.weights, strict=True)
        )
        others = [row for row in sampled if row.place[1:] not in weights]
        bodies = [row.body for row in others]
        bodies += [stored_rows.encode(row.stored.values) for row in self.only_reviewed]
        labels = self.sample(others)
        labels += [stored_rows.encode(row.label) for row in self.only_reviewed]
        table = stored_rows.by_column(names, bodies, labels)
        label, values = table.popitem()
        all_weights = [1.0] * len(others) + list(weights.values())
        return {**table, own_name(WEIGHT, names): all_weights, label: values}

    def counters(self, counted: LabelCounters, *, regression: bool) -> LabelCounters:
        """Return the counters with reviewed labels in place of callers' labels."""
        changes = list(self.corrected.values())
        before = [(label, row.stored.predicted) for row, label in changes]
        after = [(row.label, row.stored.predicted) for row, _ in changes]
        return counted.corrected(before, after, regression=regression)

    def confusion(self, cells: dict[str, dict[str, int]]) -> Cells:
        """Return the confusion matrix plus the weights of the rows without a caller's label."""
        weights: Cells = {true: dict(row) for true, row in cells.items()}
        for reviewed, weight in zip(self.only_reviewed, self.weights, strict=True):
            row = weights.setdefault(category(reviewed.label), {})
            predicted = category(reviewed.stored.predicted)
            row[predicted] = row.get(predicted, 0) + weight
        return {
            true: {prediction: _plain(rows) for prediction, rows in sorted(weights[true].items())}
            for true in sorted(weights)
        }


def _plain(rows: float) -> float:
    return rows if isinstance(rows, int) else round(rows, 3)
