"""Select the baseline of a window whose version has no reference. Pure.

A chosen baseline applies to windows that begin MARGIN or more after it was recorded, like a changed
policy. The selection therefore depends on event time, not on when the monitor reads the record.
"""

from collections.abc import Sequence

from monitoring.windows.policy_periods import MARGIN
from registry.baselines import BaselineRecord, RecordedBaseline


def baseline_at(
    start: int, learned: BaselineRecord | None, recorded: Sequence[RecordedBaseline]
) -> BaselineRecord | None:
    """Return the baseline of a window that begins at `start`; None if it is not learned yet."""
    chosen = [
        baseline.record
        for baseline in recorded
        if baseline.record.origin == "chosen" and baseline.row.time + MARGIN <= start
    ]
    if chosen:
        return chosen[-1]
    return learned if learned is not None and learned.end <= start else None
