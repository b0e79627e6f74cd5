"""A server's history with a copy on this machine, so that an outage stops changes and no answer.

Reads first bring the copy up to date, then use it alone. While the server cannot be reached, they
use the copy as it is, with a warning. Writes go to the server.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import asdict

from registry.errors import RegistryUnavailable
from registry.history.database import HistoryConnection, HistoryDatabase
from registry.history.rows import FIRST, HistoryRow, next_chain
from registry.history.sqlite import SqliteDatabase

_PAGE = 1_000  # rows in one transaction
_PAUSE_S = 2.0  # after a failure, before the server is tried again

_logger = logging.getLogger(__name__)


class ReplicatedDatabase:
    """A `HistoryDatabase`: writes on the server, reads on the copy."""

    def __init__(
        self, server: HistoryDatabase, path: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._path = path
        self._copy = SqliteDatabase(path)
        self._clock = clock
        self._head = (0, FIRST)  # of the server, up to which the copy is known to be complete
        self._lost_at: float | None = None

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[HistoryConnection]:
        """Do all of the block or nothing; with `write`, on the server."""
        if write:
            with self._server.transaction(write=True) as connection:
                yield connection
        else:
            self._refresh()
            with self._copy.transaction() as connection:
                yield connection

    def close(self) -> None:
        """Close the connection to the server."""
        self._server.close()

    def _refresh(self) -> None:
        """Copy the rows that the server has and the copy lacks."""
        if self._lost_at is not None and self._clock() < self._lost_at + _PAUSE_S:
            return
        try:
            with self._server.transaction() as connection:
                head = read_head(connection)
        except RegistryUnavailable as error:
            self._go_on_without(error)
            return
        if self._lost_at is not None:
            _logger.info("the registry's database is back")
            self._lost_at = None
        while self._head != head:
            self._head = self._copy_page(head)

    def _copy_page(self, head: tuple[int, str]) -> tuple[int, str]:
        """Copy up to a page of rows; return up to where the copy is complete."""
        with self._copy.transaction(write=True) as copy:
            have = read_head(copy)
            if have[0] == head[0] and have[1] != head[1]:
                raise self._diverged(head[0])
            if have[0] >= head[0]:
                return head  # another process has copied them
            with self._server.transaction() as server:
                found = server.all("AFTER", after=have[0], until=have[0] + _PAGE)
            rows = [HistoryRow(*row) for row in found]  # type: ignore[arg-type]
            revision, chain = have
            for row in rows:
                revision, chain = revision + 1, next_chain(chain, row)
                if (row.revision, row.chain) != (revision, chain):
                    raise self._diverged(revision)
            copy.many("INSERT", insert_values(rows))
            return revision, chain

    def _diverged(self, revision: int) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"the registry's database does not continue what this machine copied up to revision "
            f"{revision}: rows were changed, or a backup was restored; check it with `driftline "
            f"audit verify`, then remove {self._path} to accept it"
        )

    def _go_on_without(self, error: RegistryUnavailable) -> None:
        """Use the copy as it is; raises the error if there is none yet."""
        with self._copy.transaction() as copy:
            revision, _ = read_head(copy)
        if revision == 0:
            raise error
        if self._lost_at is None:
            _logger.warning("%s; using this machine's copy, revision %d", error, revision)
        self._lost_at = self._clock()


def read_head(connection: HistoryConnection) -> tuple[int, str]:
    """Return the latest revision and the chain after it."""
    found = connection.all("HEAD")
    if not found:
        return 0, FIRST
    revision, chain = found[0]
    assert isinstance(revision, int)
    return revision, str(chain)


def insert_values(rows: Sequence[HistoryRow]) -> list[dict[str, object]]:
    """Return the values of rows for the statement INSERT."""
    return [{f"n_{name}": value for name, value in asdict(row).items()} for row in rows]
