"""A picked row as a reviewer sees it: named features, prediction and possible labels. Pure."""

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

_LIKELIEST = 6  # maximum classes whose probability is shown
_DIGITS = "1234567890"


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the review queue; times are microseconds since the Unix epoch."""

    prediction_id: str
    row: int
    model: str
    version: str
    time: int  # event time
    parts: list[Part]  # parts of the selection that picked the row
    inclusion: float  # probability that the row was picked
    margin: float | None  # difference between the probabilities of the two likeliest classes
    features: dict[str, Any]  # feature name -> logged value
    predicted: Any  # predicted class or number
    probabilities: dict[str, Any] = {}  # class -> predicted probability
    classes: list[Label] = []  # possible labels; empty if the label is a number
    label: Label | None = None  # reviewer's label; None if the row is undecided
    reviewer: str = ""  # actor who decided
    why: str = ""  # reviewer's reason

    @property
    def likeliest(self) -> list[tuple[str, Any]]:
        """The likeliest classes with their probabilities, at most six, in the manifest's order."""
        ranked = sorted(self.probabilities.values(), key=number, reverse=True)
        minimum = number(ranked[_LIKELIEST - 1]) if len(ranked) > _LIKELIEST else -1.0
        likely = [
            (name, probability)
            for name, probability in self.probabilities.items()
            if not number(probability) < minimum
        ]
        return likely[:_LIKELIEST]

    @property
    def keys(self) -> list[tuple[str, Label]]:
        """The digit key that labels the row with a class, and the class, for each alternative.

        A class that is a digit has this digit as its key. Further classes get the free digits.
        """
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
    """Return a picked row with its values named by the manifest."""
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
    """Return a label in the manifest's spelling.

    Raises:
        ValueError: the model cannot have this label.
    """
    classes = classes_of(manifest)
    read = read_label(label, classes)
    if read is None:
        raise ValueError(invalid_reason(label, classes))
    return read
