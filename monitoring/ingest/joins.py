"""Decide whether a label is joined to its prediction. Pure.

The first label in the order of the log is joined. A later label is a duplicate if it is equal, and
a conflict if it differs; both are counted. A label that precedes its prediction is stored until the
prediction arrives. A label that the model cannot predict is not joined (`registry/labels.py`).
"""

from typing import Literal

from eventlog.events import Label
from registry.labels import category

JoinOutcome = Literal["joined", "duplicate", "conflicting"]


def join(stored: Label | None, label: Label) -> JoinOutcome:
    """Return the outcome of a label for a row whose label is `stored`, or None if unlabelled."""
    if stored is None:
        return "joined"
    return "duplicate" if category(stored) == category(label) else "conflicting"
