"""Decide what a window of a version without a reference is compared with. Pure.

A chosen baseline holds for windows that begin MARGIN after it was recorded, as a changed policy
does. So the choice is a function of event time, whenever the monitor learns of it.
"""

from collections.abc import Sequence

from monitoring.windows.policy_periods import MARGIN
from registry.baselines import BaselineRecord, RecordedBaseline


def baseline_at(
    start: int, learned: BaselineRecord | None, recorded: Sequence[RecordedBaseline]
) -> BaselineRecord | None:
    """Return the baseline of a window that begins at `start`; None while it is being learned."""
    chosen = [
        baseline.record
        for baseline in recorded
        if baseline.record.origin == "chosen" and baseline.row.time + MARGIN <= start
    ]
    if chosen:
        return chosen[-1]
    return learned if learned is not None and learned.end <= start else None
