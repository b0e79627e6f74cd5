"""Everything that decides what a label does to the prediction it speaks of lives here.

The first label in the order of the log holds. The same label again changes nothing; another one is
a conflict and is counted. A label that comes before its prediction waits for it; as long as it
waits it is counted as unknown, so none is ever lost in silence.
"""

from typing import Literal

from eventlog.events import Label

Fate = Literal["joined", "duplicate", "conflicting"]


def join(held: Label | None, told: Label) -> Fate:
    """What becomes of a label `told` for a row that holds `held` (None: no label yet)."""
    if held is None:
        return "joined"
    return "duplicate" if type(held) is type(told) and held == told else "conflicting"


def revise(rows: int, labelled: int, scored_labels: int, *, expired: bool) -> bool:
    """Whether the labels that came since the last scoring are worth scoring again.

    A fifth of the window's rows are, and at the end, when no more will come, any are.
    """
    fresh = labelled - scored_labels
    return fresh > 0 and (expired or 5 * fresh >= rows or labelled == rows)
