"""The database file: opened the same way by everyone who reads or writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

Kind = TypeVar("Kind")

_SCHEMA = (Path(__file__).parent / "schema.sql").read_text()
_ADDED = (("predictions", "time"), ("early_labels", "time"))  # columns that came later: integers
_PATIENCE = 10.0  # seconds to wait for another connection's transaction


class Database:
    """One connection; usable from several threads one after the other.

    The journal is SQLite's default, not the write-ahead log: with a second connection, releases
    before 3.51.3 can lose the latter's reset, and Python often carries an older one.
    """

    def __init__(self, path: Path) -> None:
        """Open, and create what is not there yet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        if not self.all("SELECT name FROM sqlite_master WHERE name = 'monitored'"):
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        self._complete()

    def _complete(self) -> None:
        """Give a database that an earlier release made what it lacks."""
        if all(self._has(table, column) for table, column in _ADDED):
            return
        with self.transaction():
            for table, column in _ADDED:
                if not self._has(table, column):
                    self.do(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")

    def _has(self, table: str, column: str) -> bool:
        return bool(self.all("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", table, column))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what the block does, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def all(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Every row of a query."""
        return self._connection.execute(statement, values).fetchall()

    def one(self, statement: str, *values: object) -> tuple[object, ...] | None:
        """The first row of a query."""
        row: tuple[object, ...] | None = self._connection.execute(statement, values).fetchone()
        return row

    def do(self, statement: str, *values: object) -> int:
        """Run a statement; how many rows it touched."""
        return self._connection.execute(statement, values).rowcount

    def many(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        """Run a statement once per row of values."""
        if rows:
            self._connection.executemany(statement, rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def as_struct(value: object, kind: type[Kind]) -> Kind:
    """A column that holds JSON."""
    return msgspec.json.decode(as_bytes(value), type=kind)


def as_bytes(value: object) -> bytes:
    """A column of bytes."""
    assert isinstance(value, bytes)
    return value


def as_bytes_or_none(value: object) -> bytes | None:
    """A column of bytes that may be null."""
    return None if value is None else as_bytes(value)


def as_int(value: object) -> int:
    """A column of integers."""
    assert isinstance(value, int)
    return value
