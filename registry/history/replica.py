"""A server's history with a copy on this machine, so that serving continues during an outage.

Reads update the copy from the server and then read only the copy. While the server cannot be
reached, they read the copy without an update, and log a warning. Writes are sent to the server.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import asdict

from registry.errors import RegistryError, RegistryUnavailable
from registry.history.database import HistoryConnection, HistoryDatabase
from registry.history.rows import FIRST, HistoryRow, next_chain, read_row
from registry.history.sqlite import SqliteDatabase

PAGE = 1_000  # rows in one transaction
PAUSE_S = 2.0  # seconds after a failure until the server is tried again

_logger = logging.getLogger(__name__)

_outages: set[Path] = set()  # copies whose outage this process has logged, to log it only once


class ReplicatedDatabase:
    """A `HistoryDatabase` that writes to the server and reads from the copy."""

    def __init__(
        self, server: HistoryDatabase, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._path = path
        self._copy = SqliteDatabase(path, copy=True)
        self._clock = clock
        self._head = (0, FIRST)  # server's head up to which the copy is complete
        self._lost_at: float | None = None

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[HistoryConnection]:
        """Run the block in a transaction on the copy or, if `write`, on the server."""
        if write:
            with self._server.transaction(write=True) as connection:
                yield connection
        else:
            self._refresh()
            with self._copy.transaction() as connection:
                yield connection

    def time_ns(self) -> int:
        """Return the time by the server's clock."""
        return self._server.time_ns()

    def close(self) -> None:
        """Close the connection to the server."""
        self._server.close()

    def _refresh(self) -> None:
        """Copy the server's new rows."""
        if self._lost_at is not None and self._clock() < self._lost_at + PAUSE_S:
            return
        try:
            with self._server.transaction() as connection:
                head = read_head(connection)
        except RegistryUnavailable as error:
            self._use_stale_copy(error)
            return
        self._lost_at = None
        if self._path in _outages:
            _outages.discard(self._path)
            _logger.info("the registry's database is reachable again")
        while self._head != head:
            try:
                self._head = copy_page(self._server, self._copy, head)
            except HistoriesDiffer as error:
                raise self._diverged(error.revision) from None

    def _diverged(self, revision: int) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"the registry's database does not continue the rows that this machine copied up to "
            f"revision {revision}: rows were changed, or a backup was restored; check the database "
            f"with `driftline audit verify`, then remove {self._path} to accept it"
        )

    def _use_stale_copy(self, error: RegistryUnavailable) -> None:
        """Read the copy without an update; raises `error` if the copy is empty."""
        with self._copy.transaction() as copy:
            revision, _ = read_head(copy)
        if revision == 0:
            raise error
        if self._path not in _outages:
            _outages.add(self._path)
            _logger.warning("%s; using this machine's copy, revision %d", error, revision)
        self._lost_at = self._clock()


def copy_head(path: Path) -> tuple[int, str]:
    """Return the latest revision of a machine's copy, and its chain."""
    with SqliteDatabase(path, copy=True).transaction() as copy:
        return read_head(copy)


class HistoriesDiffer(RegistryError):
    """A history does not continue the rows of another history."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the histories differ at or before revision {revision}")
        self.revision = revision


def copy_page(
    source: HistoryDatabase, target: HistoryDatabase, head: tuple[int, str]
) -> tuple[int, str]:
    """Copy at most a page of rows up to the source's `head`; return the target's new head.

    Raises HistoriesDiffer if the source does not continue the target.
    """
    with target.transaction(write=True) as copy:
        have = read_head(copy)
        if have[0] >= head[0]:  # another process has copied the rows
            if not is_chain(copy, *head):
                raise HistoriesDiffer(head[0])
            return head
        until = min(have[0] + PAGE, head[0])
        with source.transaction() as connection:
            copied_rows = connection.all("AFTER", after=have[0], until=until)
        rows = [read_row(record) for record in copied_rows]
        revision, chain = have
        for row in rows:
            revision, chain = revision + 1, next_chain(chain, row)
            if (row.revision, row.chain) != (revision, chain):
                raise HistoriesDiffer(revision)
        if revision != until:
            raise HistoriesDiffer(until)
        copy.many("INSERT", insert_values(rows))
        return revision, chain


def is_chain(connection: HistoryConnection, revision: int, chain: str) -> bool:
    """Return whether a history has this chain at a revision."""
    rows = connection.all("AFTER", after=revision - 1, until=revision)
    return chain == (str(rows[0][-1]) if rows else FIRST)  # the chain is the last column


def read_head(connection: HistoryConnection) -> tuple[int, str]:
    """Return the latest revision and its chain."""
    head_rows = connection.all("HEAD")
    if not head_rows:
        return 0, FIRST
    revision, chain = head_rows[0]
    assert isinstance(revision, int)
    return revision, str(chain)


def insert_values(rows: Sequence[HistoryRow]) -> list[dict[str, object]]:
    """Return the values of rows for the statement INSERT."""
    return [{f"n_{name}": value for name, value in asdict(row).items()} for row in rows]
