"""SQLite as the monitor's database: one file, the default.

A locked, full or unreadable file raises DatabaseUnavailable, as a lost PostgreSQL server does.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from eventlog.durable_files import create_private, make_folder
from monitoring.errors import DatabaseUnavailable
from monitoring.storage.query import Lookup, Query, Row, RowQuery, Values
from monitoring.storage.sql import VERSION_TABLE

_TOGETHER = 500  # names in one query
_MARKS = ", ".join("?" * _TOGETHER)
_CACHE = 32_768  # KiB of pages at most; labels of a day ask for rows all over the file
_PATIENCE = 10.0  # seconds to wait for another connection's transaction
# Faults of the file or its surroundings; every other error is one of a statement.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: f"locked by another process for {_PATIENCE:g} seconds",
    sqlite3.SQLITE_LOCKED: "locked by another connection",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_IOERR: "disk I/O error",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_CORRUPT: "damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "not a database; restore it from a backup",
}


class Sqlite:
    """A `Driver` (see database.py) on one connection to a file.

    The journal is SQLite's default, not the write-ahead log: with a second connection, releases
    before 3.51.3 can lose the latter's reset, and Python often carries an older one.
    """

    def __init__(self, path: Path, *, lasting: bool = True) -> None:
        """Open the file, empty if it is not there yet.

        One that is not `lasting` is worth nothing if the machine or the process ends over it:
        nothing waits for the disk.
        """
        self._path = path
        try:
            make_folder(path.parent)
            create_private(path)
            self._connection = _connect(path)
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise
        except OSError as error:
            raise DatabaseUnavailable(f"the database {path}: {error.strerror}") from error
        self._read(f"PRAGMA cache_size = -{_CACHE}")
        if not lasting:
            self._read("PRAGMA synchronous = OFF")
            self._read("PRAGMA journal_mode = MEMORY")

    def revision(self) -> str | None:
        """Read the revision of the schema; None where no migration has run."""
        made = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?"
        if not self._read(made, (VERSION_TABLE,)):
            return None
        found = self._read(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - ours
        return str(found[0][0]) if found else None

    def migrate(self) -> None:
        """Run the migrations that the file lacks, on a connection of their own."""
        from monitoring.storage.migrations import upgrade_sqlite  # noqa: PLC0415 - SQLAlchemy

        try:
            upgrade_sqlite(lambda: _connect(self._path))
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def begin(self, *, alone: bool) -> None:  # noqa: ARG002 - here it always is
        """Begin a transaction, after every other one that writes."""
        self._read("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the transaction."""
        self._read("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did; after some errors SQLite has done that already."""
        if self._connection.in_transaction:
            self._read("ROLLBACK")

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        done = statement.sqlite
        return self._read(done.sql, done.values(values))

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; returns how many rows it touched."""
        done = statement.sqlite
        try:
            return self._connection.execute(done.sql, done.values(values)).rowcount
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def among(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        found: list[Row] = []
        query = lookup.sqlite.replace("(?)", f"({_MARKS})")
        for begin in range(0, len(names), _TOGETHER):
            asked = list(names[begin : begin + _TOGETHER])
            # Always as many, so that the statement is prepared once; a name twice changes nothing.
            padded = [*asked, *asked[:1] * (_TOGETHER - len(asked))]
            found += self._read(query, padded)
        return found

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement for each row."""
        done = statement.sqlite
        ordered = done.rows(statement.columns, rows)
        try:
            self._connection.executemany(done.sql, ordered)
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def try_lock(self, name: str) -> bool:  # noqa: ARG002 - a file has one monitor
        """Grant it: a file has one monitor."""
        return True

    def unlock(self, name: str) -> None:
        """Release a lock."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, sql: str, values: Values = ()) -> list[Row]:
        # A plain `try`, because it costs nothing: a context manager around each statement took a
        # tenth of the ingestion's time.
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def _explain(self, error: sqlite3.DatabaseError) -> None:
        """Raise DatabaseUnavailable where the file or its surroundings are at fault."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # not its extension
        reason = _UNAVAILABLE.get(code)
        if reason is not None:
            raise DatabaseUnavailable(f"the database {self._path}: {reason}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
