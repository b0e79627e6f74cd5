"""Record which monitor holds which partition, for the page and the commands.

The lock decides who holds a partition; these rows only show it.
"""

from collections.abc import Mapping

from monitoring.storage.database import Database
from monitoring.storage.sql import partitions as queries
from telemetry.clock import now_us


class Holders:
    """Writes what one monitor holds."""

    def __init__(self, database: Database, name: str) -> None:
        """`name` is that of the monitor: its host and process."""
        self._database = database
        self._name = name
        self._since: dict[int, int] = {}

    def report(self, behind: Mapping[int, int]) -> None:
        """Store that these partitions are held, and by how many records each is behind."""
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
        """Store that a partition is not held any more."""
        self._since.pop(number, None)
        with self._database.transaction(serialized=False):
            self._database.write(queries.RELEASE, number, self._name)
