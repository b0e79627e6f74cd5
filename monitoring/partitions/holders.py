"""Record which monitor holds which partition, for the status page and the commands.

The rows are only information: the advisory lock decides which monitor holds a partition.
"""

from collections.abc import Mapping

from monitoring.storage.database import Database
from monitoring.storage.sql import partitions as queries
from telemetry.clock import now_us


class Holders:
    """Writes the partitions that one monitor holds."""

    def __init__(self, database: Database, name: str) -> None:
        """`name` identifies the monitor: its host and process."""
        self._database = database
        self._name = name
        self._since: dict[int, int] = {}  # partition: time of its first report, in microseconds

    def report(self, behind: Mapping[int, int]) -> None:
        """Store the held partitions, each with the number of records by which it is behind."""
        now = now_us()
        for number in self._since.keys() - behind.keys():
            del self._since[number]
        rows: list[tuple[object, ...]] = [
            (number, self._name, self._since.setdefault(number, now), now, records, None)
            for number, records in sorted(behind.items())
        ]
        if rows:
            with self._database.transaction(serialized=False):
                self._database.many(queries.REPORT, rows)

    def release(self, number: int) -> None:
        """Store that this monitor no longer holds a partition."""
        self._since.pop(number, None)
        with self._database.transaction(serialized=False):
            self._database.write(queries.RELEASE, number, self._name)
