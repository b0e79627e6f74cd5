"""SQLite as the registry's database: one file below the home, the default.

Each call opens a connection of its own, since calls are rare. The journal mode is SQLite's default:
in WAL mode, releases before 3.51.3 can corrupt a file that several connections write.
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
# Releases before migrations read the schema version from here, and refuse a greater one.
SCHEMA_VERSION = 4
MIGRATED = (
    "a newer release migrated it while this process ran; it can be read here, and changed by that "
    "release"
)
_FOLLOWERS = ("service", "monitor")  # roles of processes that read the file as long as they run


class SqliteConnection:
    """A `HistoryConnection` (see database.py) to the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Read every row of a statement of `sql.py`."""
        return self._connection.execute(SQLITE[statement], values).fetchall()

    def many(self, statement: str, rows: Sequence[dict[str, object]]) -> None:
        """Run a statement once per row of values."""
        self._connection.executemany(SQLITE[statement], rows)


class SqliteDatabase:
    """A `HistoryDatabase` in one file; safe across threads and processes."""

    def __init__(self, path: Path, *, copy: bool = False) -> None:
        """A `copy` holds the rows of a server."""
        self._path = path
        self._is_copy = copy
        self._prepared = False

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[SqliteConnection]:
        """Do all of the block or nothing; with `write`, after every other writer."""
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
                connection.close()  # undoes what was not committed

    def time_ns(self) -> int:
        """Return the time by the clock of this machine, the only one that uses the file."""
        return time.time_ns()

    def close(self) -> None:
        """Close nothing: no connection stays open."""

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE_S, isolation_level=None)
        # Also flush the end of the journal: a commit must not be undone by a power loss.
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    def _prepare(self) -> None:
        """Create or migrate the table if it is not this release's."""
        with closing(self._connect()) as connection:
            version = _schema_version(connection) or _create_tables(connection)
        if version > SCHEMA_VERSION:
            raise IncompatibleRegistry(
                f"registry {self._path}: schema version {version} is of a newer release, expected "
                f"at most {SCHEMA_VERSION}; upgrade Driftline here, or restore the backup made "
                "before the upgrade"
            )
        if version < SCHEMA_VERSION:
            self._require_no_older_process()
            # Alembic and SQLAlchemy are imported only where a migration runs.
            from registry.history.migrations import migrate_file  # noqa: PLC0415

            after = f"PRAGMA user_version = {SCHEMA_VERSION}"
            migrate_file(self._connect, after, copy=self._is_copy)
        self._prepared = True

    def _require_no_older_process(self) -> None:
        """Refuse to migrate the file under a process of an earlier release: it would not follow."""
        home = Home(self._path.parent)
        for role in _FOLLOWERS:
            running = holder(home.lock(role))
            if running is not None and running.release != release():
                raise IncompatibleRegistry(
                    f"registry {self._path}: it needs a migration, and the {role} of another "
                    f"release ({running}) runs on this home: stop it first, or use its own commands"
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
    """Create the tables in a new file, and return its schema version then."""
    connection.execute("BEGIN IMMEDIATE")  # of several processes, one creates them
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
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extension
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"locked by another process for {PATIENCE_S} seconds; try again when it has ended"
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return f"{error}; restore it from a backup"
    if code == sqlite3.SQLITE_FULL:
        return f"{error}; free some space and try again"
    return f"{error}; expected a file that this user can read and write"
