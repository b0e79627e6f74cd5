"""SQLite as the monitor's database: one file, the default.

A locked, full or unreadable file raises DatabaseUnavailable, as a lost PostgreSQL server does.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Executable, Select, bindparam, create_engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from monitoring.errors import DatabaseUnavailable
from monitoring.storage.migrations import VERSION_TABLE, upgrade
from monitoring.storage.statements import Compiled, Row, RowStatement, compiled, for_one

_TOGETHER = 500  # names in one query
_CACHE = 32_768  # KiB of pages at most; labels of a day ask for rows all over the file
_PATIENCE = 10.0  # seconds to wait for another connection's transaction
_DIALECT = SQLiteDialect_pysqlite()
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
        with _available(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(path)
            self._connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            if not lasting:
                self._connection.execute("PRAGMA synchronous = OFF")
                self._connection.execute("PRAGMA journal_mode = MEMORY")

    def revision(self) -> str | None:
        """Read the revision of the schema; None where no migration has run."""
        made = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        if self._run(made, (VERSION_TABLE,)).fetchone() == (0,):
            return None
        found = self._run(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - ours
        return None if found is None else str(found[0])

    def migrate(self) -> None:
        """Run the migrations that the file lacks, on a connection of their own."""
        engine = create_engine(
            "sqlite://", creator=lambda: _connect(self._path), poolclass=NullPool
        )
        _begin_alone(engine)
        with _available(self._path):
            try:
                upgrade(engine)
            except DBAPIError as error:
                raise error.orig or error from None

    def begin(self, *, alone: bool) -> None:  # noqa: ARG002 - here it always is
        """Begin a transaction, after every other one that writes."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the transaction."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did; after some errors SQLite has done that already."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def execute(self, statement: Executable, values: Mapping[str, object]) -> sqlite3.Cursor:
        """Run one statement."""
        done = compiled(statement, _DIALECT)
        return self._run(done.sql, done.values(values))

    def among(
        self, statement: Select[*tuple[object, ...]], column: Column[str], names: Sequence[str]
    ) -> list[tuple[object, ...]]:
        """Read the rows of a query whose column has one of many values."""
        found: list[tuple[object, ...]] = []
        query = _one_of_many(statement, column).sql
        for begin in range(0, len(names), _TOGETHER):
            asked = list(names[begin : begin + _TOGETHER])
            # Always as many, so that the statement is prepared once; a name twice changes nothing.
            padded = [*asked, *asked[:1] * (_TOGETHER - len(asked))]
            found += self._run(query, padded).fetchall()
        return found

    def write(self, statement: RowStatement, rows: Sequence[Row]) -> None:
        """Run a row statement for each row."""
        done = for_one(statement, _DIALECT)
        with _available(self._path):
            self._connection.executemany(done.sql, done.rows([*statement.columns], rows))

    def try_lock(self, name: str) -> bool:  # noqa: ARG002 - a file has one monitor
        """Grant it: a file has one monitor."""
        return True

    def unlock(self, name: str) -> None:
        """Release a lock."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _run(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        with _available(self._path):
            return self._connection.cursor(_Cursor).execute(sql, values)


class _Cursor(sqlite3.Cursor):
    """A cursor whose later reads raise DatabaseUnavailable too."""

    def fetchall(self) -> list[Any]:
        """Read the remaining rows."""
        with _available():
            return super().fetchall()

    def fetchone(self) -> Any:
        """Read the next row."""
        with _available():
            return super().fetchone()


@contextmanager
def _available(path: Path | None = None) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # not its extension
        reason = _UNAVAILABLE.get(code)
        if reason is None:
            raise
        raise DatabaseUnavailable(f"the database {path or ''}: {reason}") from error
    except OSError as error:
        raise DatabaseUnavailable(f"the database {path or ''}: {error.strerror}") from error


@lru_cache
def _one_of_many(statement: Select[*tuple[object, ...]], column: Column[str]) -> Compiled:
    names = [bindparam(f"name_{n}", type_=column.type) for n in range(_TOGETHER)]
    return compiled(statement.where(column.in_(names)), _DIALECT)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)


def _begin_alone(engine: Engine) -> None:
    """Begin SQLAlchemy's transactions after every other one that writes.

    Python's driver begins one only before some statements, and without the lock.
    """

    @event.listens_for(engine, "begin")
    def _(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]
