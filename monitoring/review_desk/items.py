"""A picked row as a person reads it: named features, prediction and what may be answered. Pure."""

from typing import Any

import msgspec

from eventlog.events import Label
from monitoring.counters.plain_values import number
from monitoring.reviews.rows import PickedRow
from monitoring.reviews.selection import Part
from monitoring.storage import row_layout
from registry.features import monitored_columns
from registry.labels import category, classes_of, invalid_reason, read_label
from registry.manifest import Manifest
from registry.outputs import label_output, probabilities_output

_LIKELIEST = 6  # classes whose probability is shown
_DIGITS = "1234567890"


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the review queue; times are microseconds since the Unix epoch."""

    prediction_id: str
    row: int
    model: str
    version: str
    time: int  # event time
    parts: list[Part]  # parts of the selection that picked the row
    inclusion: float  # probability that it was picked
    margin: float | None  # margin between the probabilities of the two best classes
    features: dict[str, Any]  # features as logged
    predicted: Any
    probabilities: dict[str, Any] = {}  # keyed by class
    classes: list[Label] = []  # empty: the label is a number
    label: Label | None = None  # label that a person has stated
    reviewer: str = ""
    why: str = ""

    @property
    def likeliest(self) -> list[tuple[str, Any]]:
        """The classes with the greatest probabilities, a few of many, in the manifest's order."""
        ranked = sorted(self.probabilities.values(), key=number, reverse=True)
        least = number(ranked[_LIKELIEST - 1]) if len(ranked) > _LIKELIEST else -1.0
        few = [
            (name, probability)
            for name, probability in self.probabilities.items()
            if not number(probability) < least
        ]
        return few[:_LIKELIEST]

    @property
    def keys(self) -> list[tuple[str, Label]]:
        """The other classes by the key that corrects to them: their own digit, or a free one."""
        names = self.alternatives
        own = {str(name): name for name in names if str(name) in _DIGITS}
        free = iter(
            [digit for digit in _DIGITS if digit not in own and digit != str(self.predicted)]
        )
        return [(str(name) if str(name) in own else next(free, ""), name) for name in names]

    @property
    def alternatives(self) -> list[Label]:
        """The classes that were not predicted."""
        return [
            class_name
            for class_name in self.classes
            if category(class_name) != category(self.predicted)
        ]


def item_of(picked: PickedRow, manifest: Manifest) -> ReviewItem:
    """Name the values of a picked row."""
    stored, names = picked.stored, row_layout.columns(manifest)
    columns = len(monitored_columns(manifest))
    first = columns + bool(label_output(manifest.prediction))
    classes = manifest.prediction.classes
    probabilities: dict[str, Any] = {}
    if probabilities_output(manifest.prediction):
        probabilities = dict(zip(map(str, classes), stored.values[first:], strict=False))
    decision = picked.decision
    return ReviewItem(
        prediction_id=stored.prediction_id,
        row=picked.row,
        model=picked.model,
        version=picked.version,
        time=stored.time,
        parts=stored.parts,
        inclusion=stored.inclusion,
        margin=stored.margin,
        features=dict(zip(names[:columns], stored.values, strict=False)),
        predicted=stored.predicted,
        probabilities=probabilities,
        classes=classes if manifest.task == "classification" else [],
        label=picked.label,
        reviewer=decision.actor if decision is not None else "",
        why=decision.why if decision is not None else "",
    )


def checked_label(label: Label, manifest: Manifest) -> Label:
    """Return a label in the model's spelling; raises ValueError for one that it cannot have."""
    classes = classes_of(manifest)
    read = read_label(label, classes)
    if read is None:
        raise ValueError(invalid_reason(label, classes))
    return read
