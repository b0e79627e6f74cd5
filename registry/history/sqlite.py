"""SQLite as the registry's database: one file in the home, the default.

Each call opens a separate connection, because calls are rare. The journal mode is SQLite's default.
In WAL mode, SQLite before 3.51.3 can corrupt a file that several connections write.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from eventlog.durable_files import create_private, make_folder
from eventlog.process_lock import holder
from eventlog.settings import Home
from registry.errors import IncompatibleRegistry, RegistryUnavailable
from registry.history.sql import SQLITE, TABLES
from telemetry.release import release

PATIENCE_S = 10  # how long a call waits for another process's transaction
# Releases without migrations read it from `user_version`, and refuse a greater version.
SCHEMA_VERSION = 4
MIGRATED = (
    "a newer release migrated it while this process ran; this process can read it, but only that "
    "release can change it"
)
_READERS = ("service", "monitor")  # roles of processes that read the file while they run


class SqliteConnection:
    """A `HistoryConnection` (see database.py) to the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Return all result rows of a statement of `sql.py`."""
        return self._connection.execute(SQLITE[statement], values).fetchall()

    def many(self, statement: str, rows: Sequence[dict[str, object]]) -> None:
        """Run a statement once for each dictionary of values."""
        self._connection.executemany(SQLITE[statement], rows)


class SqliteDatabase:
    """A `HistoryDatabase` in one file; safe across threads and processes."""

    def __init__(self, path: Path, *, copy: bool = False) -> None:
        """`copy` states whether the file is a copy of a server's history."""
        self._path = path
        self._is_copy = copy
        self._prepared = False

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[SqliteConnection]:
        """Run the block in a transaction; if `write`, after all other writers."""
        with self._faults():
            make_folder(self._path.parent)
            if not self._prepared:
                create_private(self._path)
                self._prepare()
            connection = self._connect()
            try:
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                if write and _schema_version(connection) != SCHEMA_VERSION:
                    raise IncompatibleRegistry(f"registry {self._path}: {MIGRATED}")
                yield SqliteConnection(connection)
                connection.execute("COMMIT")
            finally:
                connection.close()  # rolls back an uncommitted transaction

    def time_ns(self) -> int:
        """Return the time by this machine's clock, because no other machine uses the file."""
        return time.time_ns()

    def close(self) -> None:
        """Do nothing, because no connection stays open."""

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
        # Also flush the journal's deletion, so that a power loss does not undo a commit.
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    def _prepare(self) -> None:
        """Create the tables, or migrate them if their version is older."""
        with closing(self._connect()) as connection:
            version = _schema_version(connection) or _create_tables(connection)
        if version > SCHEMA_VERSION:
            raise IncompatibleRegistry(
                f"registry {self._path}: schema version {version} is from a newer release, "
                f"expected at most {SCHEMA_VERSION}; upgrade Driftline here, or restore the backup "
                "made before the upgrade"
            )
        if version < SCHEMA_VERSION:
            self._require_no_older_process()
            # Alembic and SQLAlchemy are imported only if a migration runs.
            from registry.history.migrations import migrate_file  # noqa: PLC0415

            after = f"PRAGMA user_version = {SCHEMA_VERSION}"
            migrate_file(self._connect, after, copy=self._is_copy)
        self._prepared = True

    def _require_no_older_process(self) -> None:
        """Raise IncompatibleRegistry if a process of another release runs on the same home.

        That process could not read the migrated file.
        """
        home = Home(self._path.parent)
        for role in _READERS:
            running = holder(home.lock(role))
            if running is not None and running.release != release():
                raise IncompatibleRegistry(
                    f"registry {self._path}: it needs a migration, but a {role} of another "
                    f"release ({running}) runs on this home: stop the {role} first, or use the "
                    "commands of its release"
                )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise RegistryUnavailable for faults of the file or its disk."""
        try:
            yield
        except sqlite3.Error as error:
            raise RegistryUnavailable(f"registry {self._path}: {_explain(error)}") from error
        except OSError as error:
            raise RegistryUnavailable(f"registry {self._path}: {error.strerror}") from error


def _create_tables(connection: sqlite3.Connection) -> int:
    """Create the tables if the file is new; return its schema version."""
    connection.execute("BEGIN IMMEDIATE")  # so that only one process creates them
    if not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall():
        for statement in (*TABLES, f"PRAGMA user_version = {SCHEMA_VERSION}"):
            connection.execute(statement)
    version = _schema_version(connection)
    connection.execute("COMMIT")
    return version


def _schema_version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _explain(error: sqlite3.Error) -> str:
    """Describe the fault of the file and its remedy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # primary result code
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"locked by another process for {PATIENCE_S} seconds; retry when it has ended"
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return f"{error}; restore it from a backup"
    if code == sqlite3.SQLITE_FULL:
        return f"{error}; free some space and retry"
    return f"{error}; expected a file that this user can read and write"
