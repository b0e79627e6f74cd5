"""Decide what a label does to its prediction. Pure.

The first label in the order of the log holds. An equal label is a duplicate; a different one is a
conflict and is counted. A label that precedes its prediction waits for it and is counted as unknown
meanwhile, so no label is lost silently. A label that the model could never have predicted is not
joined (`registry/labels.py`).
"""

from typing import Literal

from eventlog.events import Label
from registry.labels import category

JoinOutcome = Literal["joined", "duplicate", "conflicting"]


def join(stored: Label | None, label: Label) -> JoinOutcome:
    """Decide what becomes of `label` for a row with the label `stored` (None: not labelled yet)."""
    if stored is None:
        return "joined"
    return "duplicate" if category(stored) == category(label) else "conflicting"
