"""Reads and writes of the review queue during a step of the consumer.

A period's candidates are the rows that can still be picked for the queue. Changes of a step are
written at the end of the step, or before the next read.
"""

from collections.abc import Iterable, Sequence

from monitoring.results import Window
from monitoring.reviews.rows import PickedRow, ReviewCounts, ReviewDecision, ReviewRow
from monitoring.reviews.selection import Place
from monitoring.storage.database import Database, as_bytes, as_int, as_struct
from monitoring.storage.predictions import Key
from monitoring.storage.query import Row
from monitoring.storage.rows import encode
from monitoring.storage.sql import reviews as queries


class Reviews:
    """The review queue's rows, for use inside a transaction; call `flush` at its end."""

    def __init__(self, database: Database, *, sweeps_leases: bool = True) -> None:
        """Read and write in `database`; `sweeps_leases`: also delete the leases of deleted rows."""
        self._sweeps_leases = sweeps_leases
        self._database = database
        self._added: dict[Place, tuple[Key, int, ReviewRow]] = {}
        self._dropped: list[Place] = []
        self._decisions: dict[Place, ReviewDecision] = {}

    def add(self, key: Key, start: int, place: Place, row: ReviewRow) -> None:
        """Add a candidate."""
        self._added[place] = key, start, row

    def drop(self, place: Place) -> None:
        """Delete a candidate."""
        if self._added.pop(place, None) is None:
            self._dropped.append(place)

    def candidates(self, key: Key, start: int) -> dict[Place, ReviewRow]:
        """Read the candidates of a period."""
        self.flush()
        model, version = key
        rows = self._database.all(queries.CANDIDATES, model=model, version=version, start=start)
        return {(str(name), as_int(row)): as_struct(body, ReviewRow) for name, row, body in rows}

    def pick(self, rows: Sequence[tuple[Place, ReviewRow]], dropped: Iterable[Place]) -> None:
        """Store the picked rows of a period in queue order; delete the candidates `dropped`."""
        self._database.many(queries.DROP, [*dropped])
        self._database.many(
            queries.PICK,
            [(number, encode(row), *place) for number, (place, row) in enumerate(rows)],
        )

    def save_periods(self, key: Key, periods: Iterable[tuple[int, ReviewCounts]]) -> None:
        """Store the counts of periods, by start."""
        self._database.many(
            queries.SAVE_PERIOD, [(*key, start, encode(counts)) for start, counts in periods]
        )

    def periods(self, key: Key) -> dict[int, ReviewCounts]:
        """Read the counts of the periods that have not ended, by start."""
        model, version = key
        rows = self._database.all(queries.PERIODS, model=model, version=version)
        return {as_int(start): as_struct(body, ReviewCounts) for start, body in rows}

    def delete_period(self, key: Key, start: int) -> None:
        """Delete the counts of a period that has ended."""
        self._database.write(queries.DELETE_PERIOD, *key, start)

    def find(self, place: Place) -> PickedRow | None:
        """Read a picked row."""
        self.flush()
        name, row = place
        rows = read_picked(self._database.look_up(queries.OF_ID, [name]))
        return next((picked for picked in rows if picked.row == row), None)

    def decide(self, place: Place, decision: ReviewDecision) -> None:
        """Store the newest decision about a picked row."""
        self._decisions[place] = decision

    def decided(self, key: Key, window: Window) -> list[PickedRow]:
        """Read the rows of a window that a person has labelled."""
        self.flush()
        model, version = key
        rows = self._database.all(
            queries.DECIDED, model=model, version=version, begin=window.start, end=window.end
        )
        return [row for row in read_picked(rows) if row.label is not None]

    def delete(self, key: Key, until: int, limit: int) -> int:
        """Delete at most `limit` rows with event times before `until`; return the number."""
        model, version = key
        if self._sweeps_leases:
            self._database.do(queries.SWEEP_LEASES, limit=limit)
        return self._database.do(
            queries.SWEEP, model=model, version=version, until=until, limit=limit
        )

    def flush(self) -> None:
        """Write unsaved changes to the database."""
        if self._dropped:
            self._database.many(queries.DROP, self._dropped)
            self._dropped.clear()
        if self._added:
            self._database.many(
                queries.ADD,
                [
                    (*place, *key, start, row.time, None, encode(row), None)
                    for place, (key, start, row) in self._added.items()
                ],
            )
            self._added.clear()
        if self._decisions:
            self._database.many(
                queries.DECIDE,
                [(encode(decision), *place) for place, decision in self._decisions.items()],
            )
            self._decisions.clear()


def read_picked(rows: Sequence[Row]) -> list[PickedRow]:
    """Convert the rows of a query into picked rows."""
    return [
        PickedRow(
            str(model),
            str(version),
            str(name),
            as_int(row),
            as_struct(as_bytes(body), ReviewRow),
            None if decision is None else as_struct(decision, ReviewDecision),
        )
        for model, version, name, row, body, decision in rows
    ]
