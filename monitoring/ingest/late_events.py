"""Count events that come after the watermark has passed the end of their pane.

They are in no window. The page shows them by version and pane; `late_events` and `late_rows` are
totals of the monitor. `VersionState.is_done` decides whether an event is late.
"""

from monitoring.results import LateCounts
from monitoring.storage.journal import Journal
from monitoring.storage.predictions import Key


class LateEvents:
    """Late events since the last save, by version and pane."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], LateCounts] = {}

    def count(self, version: Key, start: int, rows: int) -> None:
        """Count an event of so many rows that came too late for the pane that begins at `start`."""
        before = self._counts.get((*version, start), LateCounts())
        self._counts[*version, start] = LateCounts(before.events + 1, before.rows + rows)

    def save(self, journal: Journal) -> None:
        """Write the counts and clear them; part of the step's transaction."""
        journal.count_late(self._counts)
        self._counts.clear()
