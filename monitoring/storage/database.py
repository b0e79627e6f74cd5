"""The monitor's database, opened the same way by everyone who reads or writes it.

SQLite or PostgreSQL, by where it is: a path is a file, an address a server.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from monitoring.storage.sqlite import Sqlite

Kind = TypeVar("Kind")
Where = Path | str  # a file, or postgresql://...

_SCHEMA = (Path(__file__).parent / "schema.sql").read_text()
_STATEMENTS = [one for one in re.sub(r"--.*", "", _SCHEMA).split(";") if one.strip()]
_TABLES = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", _SCHEMA))
_ADDED = {  # columns that came later
    ("predictions", "time"): "INTEGER",
    ("predictions", "told"): "BLOB",
    ("early_labels", "time"): "INTEGER",
    ("early_labels", "received"): "INTEGER",
}
_SUPERSEDED = [  # what an earlier release made or kept otherwise
    "DROP INDEX IF EXISTS predictions_by_window",
    "DELETE FROM predictions WHERE start IS NULL",
    "UPDATE early_labels SET received = coalesce(time, 0) WHERE received IS NULL",
]


class Driver(Protocol):
    """One connection to one kind of database.

    Statements are SQL that SQLite and PostgreSQL both understand, with `?` for values. Writing
    transactions run one after the other. `DatabaseUnavailable` means that the connection was lost,
    and with it the transaction; the next one tries to connect again.
    """

    def columns(self) -> set[tuple[str, str]]:
        """What is there, by table and column."""
        ...

    def define(self, statement: str) -> None:
        """Run a statement of SQLite's that makes or changes a table or an index."""
        ...

    def begin(self, *, alone: bool) -> None:
        """Begin a transaction; `alone`: after everybody else's of that kind."""
        ...

    def commit(self) -> None:
        """Keep what the transaction did."""
        ...

    def rollback(self) -> None:
        """Undo what the transaction did."""
        ...

    def execute(self, statement: str, values: Sequence[object]) -> Any:
        """Run one statement; a cursor of Python's DB-API."""
        ...

    def among(self, statement: str, names: Sequence[str]) -> list[tuple[object, ...]]:
        """Every row of a query that asks with `IN (...)` for some of many names."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row; no two of them may touch the same."""
        ...

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until it ends or unlocks; False: another has it.

        Always granted where nobody else can be at work.
        """
        ...

    def unlock(self, name: str) -> None:
        """Give a lock back."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Database:
    """One connection; usable from several threads one after the other."""

    def __init__(self, where: Where, *, reconnects: bool = True, lasting: bool = True) -> None:
        """Open, and create what is not there yet; raises DatabaseUnavailable.

        Without `reconnects` a connection that is lost stays so, with the locks that it held. A file
        that is not `lasting` is made anew, and not gone on with, after whatever ended its writer.
        """
        self._driver = _driver(where, reconnects=reconnects, lasting=lasting)
        if not self._complete():
            with self.transaction():
                self._create()

    def _complete(self) -> bool:
        there = self._driver.columns()
        return there >= _ADDED.keys() and {table for table, _ in there} >= _TABLES

    def _create(self) -> None:
        """Make what is missing, in a database that an earlier release made as well."""
        tables = [one for one in _STATEMENTS if "CREATE TABLE" in one]
        for statement in tables:
            self._driver.define(statement)
        there = self._driver.columns()
        for (table, column), kind in _ADDED.items():
            if (table, column) not in there:
                self._driver.define(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        for statement in _STATEMENTS:
            if statement not in tables:
                self._driver.define(statement)
        for statement in _SUPERSEDED:
            self.do(statement)

    @contextmanager
    def transaction(self, *, alone: bool = True) -> Iterator[None]:
        """All of what the block does, or nothing of it.

        Not `alone`: beside others that write, for what only this connection's locks let it touch.
        """
        self._driver.begin(alone=alone)
        try:
            yield
        except BaseException:
            self._driver.rollback()
            raise
        self._driver.commit()

    def all(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Every row of a query."""
        found: list[tuple[object, ...]] = self._driver.execute(statement, values).fetchall()
        return found

    def among(self, statement: str, names: Iterable[str]) -> list[tuple[object, ...]]:
        """Every row of a query that asks with `IN (...)` for some of many names."""
        return self._driver.among(statement, list(names))

    def one(self, statement: str, *values: object) -> tuple[object, ...] | None:
        """The first row of a query."""
        row: tuple[object, ...] | None = self._driver.execute(statement, values).fetchone()
        return row

    def do(self, statement: str, *values: object) -> int:
        """Run a statement; how many rows it touched."""
        touched: int = self._driver.execute(statement, values).rowcount
        return touched

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once per row of values; no two of them may touch the same."""
        if rows:
            self._driver.executemany(statement, rows)

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until it ends or unlocks; False: another has it.

        Always granted in SQLite, where nobody else is at work.
        """
        return self._driver.try_lock(name)

    def unlock(self, name: str) -> None:
        """Give a lock back."""
        self._driver.unlock(name)

    def close(self) -> None:
        """Let go of the connection."""
        self._driver.close()


def exists(where: Where) -> bool:
    """Whether a monitor can have been here; opening a file would create it."""
    return not isinstance(where, Path) or where.exists()


def _driver(where: Where, *, reconnects: bool, lasting: bool) -> Driver:
    if isinstance(where, Path):
        return Sqlite(where, lasting=lasting)
    from monitoring.storage.postgres import Postgres  # noqa: PLC0415 - its library, where it is used

    return Postgres(where, reconnects=reconnects)


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


def as_int_or_none(value: object) -> int | None:
    """A column of integers that may be null."""
    return None if value is None else as_int(value)


def as_int(value: object) -> int:
    """A column of integers."""
    assert isinstance(value, int)
    return value
