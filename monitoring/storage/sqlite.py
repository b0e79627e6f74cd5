"""SQLite as the monitor's database: one file, the default."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Column, Engine, Executable, Select, bindparam, create_engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from monitoring.storage.migrations import VERSION_TABLE, upgrade
from monitoring.storage.statements import Compiled, Row, RowStatement, compiled, for_one

_TOGETHER = 500  # names in one query
_CACHE = 32_768  # KiB of pages at most; labels of a day ask for rows all over the file
_PATIENCE = 10.0  # seconds to wait for another connection's transaction
_DIALECT = SQLiteDialect_pysqlite()


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
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._connection = _connect(path)
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        if not lasting:
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA journal_mode = MEMORY")

    def revision(self) -> str | None:
        """Read the revision of the schema; None where no migration has run."""
        made = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        if self._connection.execute(made, (VERSION_TABLE,)).fetchone() == (0,):
            return None
        found = self._connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - ours
        return None if found is None else str(found[0])

    def migrate(self) -> None:
        """Run the migrations that the file lacks, on a connection of their own."""
        engine = create_engine(
            "sqlite://", creator=lambda: _connect(self._path), poolclass=NullPool
        )
        _begin_alone(engine)
        try:
            upgrade(engine)
        except DBAPIError as error:
            raise error.orig or error from None

    def begin(self, *, alone: bool) -> None:  # noqa: ARG002 - here it always is
        """Begin a transaction, after every other one that writes."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the transaction."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did."""
        self._connection.execute("ROLLBACK")

    def execute(self, statement: Executable, values: Mapping[str, object]) -> sqlite3.Cursor:
        """Run one statement."""
        done = compiled(statement, _DIALECT)
        return self._connection.execute(done.sql, done.values(values))

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
            found += self._connection.execute(query, padded)
        return found

    def write(self, statement: RowStatement, rows: Sequence[Row]) -> None:
        """Run a row statement for each row."""
        done = for_one(statement, _DIALECT)
        self._connection.executemany(done.sql, done.rows([*statement.columns], rows))

    def try_lock(self, name: str) -> bool:  # noqa: ARG002 - a file has one monitor
        """Grant it: a file has one monitor."""
        return True

    def unlock(self, name: str) -> None:
        """Release a lock."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


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
