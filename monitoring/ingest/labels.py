"""Decide what a label does to its prediction. Pure.

The first label in the order of the log holds. An equal label is a duplicate; a different one is a
conflict and is counted. A label that precedes its prediction waits for it and is counted as unknown
meanwhile, so no label is lost silently. A label that the model could never have predicted is not
joined: scoring it would blame the model for a fault of the data.
"""

import math
from collections.abc import Collection
from typing import Literal

from eventlog.events import Label
from monitoring.counters.reference_domain import category

JoinOutcome = Literal["joined", "duplicate", "conflicting"]


def join(stored: Label | None, label: Label) -> JoinOutcome:
    """Decide what becomes of `label` for a row with the label `stored` (None: not labelled yet)."""
    if stored is None:
        return "joined"
    same = type(stored) is type(label) and stored == label
    return "duplicate" if same else "conflicting"


def invalid_reason(label: Label, classes: Collection[str] | None) -> str:
    """Return why the model cannot have this label; empty where it can.

    `classes` are those of a classification, as text; None: a finite number is expected.
    """
    if classes is None:
        return "" if _is_finite(label) else f"its label {label!r:.80} is no finite number"
    if category(label) in classes:
        return ""
    return f"its label {label!r:.80} is none of the classes {', '.join(sorted(classes)):.200}"


def _is_finite(label: Label) -> bool:
    try:
        return not isinstance(label, str | bool) and math.isfinite(label)
    except OverflowError:  # an integer that no float can hold
        return False
