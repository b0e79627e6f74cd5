"""Count late events: events whose pane (a part of a window) is already closed.

Late events are in no window. The status page shows them by version and pane. The totals
`late_events` and `late_rows` count them for the whole monitor.
"""

from monitoring.results import LateCounts
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key


class LateEvents:
    """Counts of late events since the last save, by version and pane."""

    def __init__(self) -> None:
        # (model, version, start of the pane): counts
        self._counts: dict[tuple[str, str, int], LateCounts] = {}

    def count(self, version: Key, start: int, rows: int) -> None:
        """Count a late event with `rows` rows, whose pane begins at `start`."""
        before = self._counts.get((*version, start), LateCounts())
        self._counts[*version, start] = LateCounts(before.events + 1, before.rows + rows)

    def save(self, journal: Journal) -> None:
        """Write the counts in the step's transaction, and clear them."""
        journal.count_late(self._counts)
        self._counts.clear()
