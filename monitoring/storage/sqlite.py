"""SQLite as the monitor's database: one file, the default.

If the file is locked, full or unreadable, methods raise DatabaseUnavailable, as for a lost server.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from eventlog.durable_files import create_private, make_folder
from eventlog.process_lock import holder
from eventlog.settings import Home
from monitoring.errors import DatabaseUnavailable, OlderMonitor
from monitoring.storage.query import Lookup, Query, Row, RowQuery, Values
from monitoring.storage.sql import REVISION, VERSION_TABLE
from monitoring.storage.sql.new_file import TABLES

_ANY_TABLE = "SELECT 1 FROM sqlite_master LIMIT 1"
_KEYS_PER_QUERY = 500
_PLACEHOLDERS = ", ".join("?" * _KEYS_PER_QUERY)
_CACHE_KIB = 32_768  # page cache; a day's labels refer to rows throughout the file
BUSY_TIMEOUT_S = 10.0  # longest wait for another connection's transaction
# Errors of the file, the disk or memory. Every other error is a mistake in a statement.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: f"locked by another process for {BUSY_TIMEOUT_S:g} seconds",
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

    It uses SQLite's default journal instead of a write-ahead log. SQLite before 3.51.3, which
    Python often contains, can corrupt a write-ahead log that two connections use.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        """Open the file; create it if it does not exist.

        If `durable` is False, commits do not wait for the disk, and a crash can damage the file.
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
        self._read(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if not durable:
            self._read("PRAGMA synchronous = OFF")
            self._read("PRAGMA journal_mode = MEMORY")

    def revision(self) -> str | None:
        """Read the schema's revision; None if no migration has run."""
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?"
        if not self._read(query, (VERSION_TABLE,)):
            return None
        rows = self._read(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
        return str(rows[0][0]) if rows else None

    def migrate(self) -> None:
        """Create the tables of a new file, or run the missing migrations on another connection.

        Raises OlderMonitor while a monitor of an earlier release uses the file.
        """
        if self._create_tables():
            return
        from monitoring.storage.migrations import upgrade_sqlite  # noqa: PLC0415 - SQLAlchemy is slow to import

        self._require_no_monitor()
        try:
            upgrade_sqlite(lambda: _connect(self._path))
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def _create_tables(self) -> bool:
        """Create all tables if there are none; return whether the file has this release's schema.

        No migration is run, because importing the migrations' libraries takes half a second.
        """
        self.begin(serialized=True)  # only one of several processes creates the tables
        try:
            if not self._read(_ANY_TABLE):
                for statement in TABLES:
                    self._read(statement)
            is_current = self.revision() == REVISION
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return is_current

    def _require_no_monitor(self) -> None:
        """Raise OlderMonitor if a running monitor needs the old schema."""
        revision = self.revision() or ""
        if revision >= REVISION:
            return  # already migrated; `upgrade_sqlite` refuses a newer schema
        monitor = holder(Home(self._path.parent).lock("monitor"))
        if monitor is None or monitor.is_this_process:
            return
        raise OlderMonitor(
            f"the database {self._path} has revision {revision or 'none'}, this release needs "
            f"{REVISION}, and the monitor of an earlier release ({monitor}) runs on this home: "
            "stop it first, or use the earlier release's commands"
        )

    def begin(self, *, serialized: bool) -> None:  # noqa: ARG002 - implements a protocol
        """Begin a transaction; wait until other writing transactions have ended."""
        self._read("BEGIN IMMEDIATE")

    def serialize(self) -> None:
        """Do nothing: every transaction is serialized."""

    def commit(self) -> None:
        """Commit the transaction."""
        self._read("COMMIT")

    def rollback(self) -> None:
        """Roll back, unless SQLite has already done so after an error."""
        if self._connection.in_transaction:
            self._read("ROLLBACK")

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        compiled = statement.sqlite
        return self._read(compiled.sql, compiled.values(values))

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; return the number of changed rows."""
        compiled = statement.sqlite
        try:
            return self._connection.execute(compiled.sql, compiled.values(values)).rowcount
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def look_up(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        rows: list[Row] = []
        query = lookup.sqlite.replace("(?)", f"({_PLACEHOLDERS})")
        for begin in range(0, len(names), _KEYS_PER_QUERY):
            batch = list(names[begin : begin + _KEYS_PER_QUERY])
            # Pad to a fixed number of keys, so that SQLite prepares the statement only once.
            padded = [*batch, *batch[:1] * (_KEYS_PER_QUERY - len(batch))]
            rows += self._read(query, padded)
        return rows

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement once per row of values."""
        compiled = statement.sqlite
        ordered = compiled.rows(statement.columns, rows)
        try:
            self._connection.executemany(compiled.sql, ordered)
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def limit_idleness(self) -> None:
        """Do nothing: `try_lock` takes no locks that a stalled process could hold."""

    def try_lock(self, name: str) -> bool:  # noqa: ARG002
        """Return True: a file has only one monitor, so no lock is needed."""
        return True

    def unlock(self, name: str) -> None:
        """Do nothing: `try_lock` takes no lock."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, sql: str, values: Values = ()) -> list[Row]:
        # A context manager for the errors would take a tenth of the time of ingestion.
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            self._explain(error)
            raise

    def _explain(self, error: sqlite3.DatabaseError) -> None:
        """Raise DatabaseUnavailable for errors of the file, the disk or memory."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        reason = _UNAVAILABLE.get(code & 0xFF)  # the primary result code
        if reason is not None:
            raise DatabaseUnavailable(f"the database {self._path}: {reason}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
