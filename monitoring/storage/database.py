"""The monitor's database, in SQLite or PostgreSQL.

A path opens SQLite, an address PostgreSQL.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from monitoring.storage.query import Lookup, Query, Row, RowQuery, Values
from monitoring.storage.sql import REVISION
from monitoring.storage.sqlite import Sqlite

Kind = TypeVar("Kind")
DatabaseAddress = Path | str  # a file, or postgresql://...


class Driver(Protocol):
    """One connection to one kind of database.

    Writing transactions run one after the other. `DatabaseUnavailable` means that the server was
    lost, or that the file was locked, full or unreadable, and with it the transaction is lost; the
    next one tries again.
    """

    def revision(self) -> str | None:
        """Read the revision of the schema; None if no migration has run."""
        ...

    def migrate(self) -> None:
        """Run the migrations that the database lacks; raises NewerDatabase and OlderMonitor."""
        ...

    def begin(self, *, serialized: bool) -> None:
        """Begin a transaction; `serialized`: after all other serialized ones have ended."""
        ...

    def serialize(self) -> None:
        """Make the open transaction serialized; wait until all others of that kind have ended."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...

    def rollback(self) -> None:
        """Undo what the transaction did."""
        ...

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        ...

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; returns how many rows it touched."""
        ...

    def look_up(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        ...

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement for each row; no two may change the same row."""
        ...

    def limit_idleness(self) -> None:
        """End the connection, with its locks, if its process stalls for half a minute."""
        ...

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until it ends or unlocks; False: another has it.

        Always granted if no other monitor can be at work.
        """
        ...

    def unlock(self, name: str) -> None:
        """Release a lock."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Database:
    """One connection; usable from several threads one after the other.

    A statement given as text has its values as `:name`.
    """

    def __init__(
        self, address: DatabaseAddress, *, reconnects: bool = True, durable: bool = True
    ) -> None:
        """Open, and migrate to the schema of this release.

        Without `reconnects`, a lost connection is not re-opened, since its locks are lost. Without
        `durable`, writes to a file are faster, but the file is useless after a crash.
        Raises DatabaseUnavailable, NewerDatabase and OlderMonitor.
        """
        self._driver = _driver(address, reconnects=reconnects, durable=durable)
        try:
            if self._driver.revision() != REVISION:
                self._driver.migrate()
        except BaseException:
            self._driver.close()
            raise

    @contextmanager
    def transaction(self, *, serialized: bool = True) -> Iterator[None]:
        """Commit the statements of the block together, or roll all back.

        Without `serialized`, other transactions may write at the same time: use it only for rows
        that this connection's locks protect.
        """
        self._driver.begin(serialized=serialized)
        try:
            yield
            self._driver.commit()
        except BaseException:
            self._driver.rollback()
            raise

    def serialize(self) -> None:
        """Make the open transaction serialized; wait until all others of that kind have ended."""
        self._driver.serialize()

    def all(self, statement: Query | str, **values: object) -> list[Row]:
        """Read every row of a query."""
        return self._driver.read(_statement(statement), values)

    def look_up(self, lookup: Lookup, names: Iterable[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        return self._driver.look_up(lookup, list(names))

    def one(self, statement: Query | str, **values: object) -> Row | None:
        """Read the row of a query that finds at most one."""
        rows = self._driver.read(_statement(statement), values)
        return rows[0] if rows else None

    def do(self, statement: Query | str, **values: object) -> int:
        """Run a statement; returns how many rows it touched."""
        return self._driver.change(_statement(statement), values)

    def write(self, statement: RowQuery, *values: object) -> None:
        """Run a row statement for one row of values."""
        self._driver.write(statement, [values])

    def many(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement once per row of values; no two may change the same row."""
        if rows:
            self._driver.write(statement, rows)

    def limit_idleness(self) -> None:
        """End the connection, with its locks, if its process stalls for half a minute."""
        self._driver.limit_idleness()

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until it ends or unlocks; False: another has it.

        Always granted in SQLite, which has one monitor.
        """
        return self._driver.try_lock(name)

    def unlock(self, name: str) -> None:
        """Release a lock."""
        self._driver.unlock(name)

    def close(self) -> None:
        """Close the connection."""
        self._driver.close()


def exists(address: DatabaseAddress) -> bool:
    """Return whether a monitor can have been here; opening a file would create it."""
    return not isinstance(address, Path) or address.exists()


def _driver(address: DatabaseAddress, *, reconnects: bool, durable: bool) -> Driver:
    if isinstance(address, Path):
        return Sqlite(address, durable=durable)
    from monitoring.storage.postgres import Postgres  # noqa: PLC0415 - its library, where it is used

    return Postgres(address, reconnects=reconnects)


def _statement(statement: Query | str) -> Query:
    return _compiled(statement) if isinstance(statement, str) else statement


@lru_cache
def _compiled(statement: str) -> Query:
    from monitoring.storage.statements import compile_text  # noqa: PLC0415 - SQLAlchemy is slow to import

    return compile_text(statement)


def as_struct(value: object, kind: type[Kind]) -> Kind:
    """Decode a column that holds JSON."""
    return msgspec.json.decode(as_bytes(value), type=kind)


def as_bytes(value: object) -> bytes:
    """Return a column of bytes."""
    assert isinstance(value, bytes)
    return value


def as_bytes_or_none(value: object) -> bytes | None:
    """Return a column of bytes that may be null."""
    return None if value is None else as_bytes(value)


def as_int_or_none(value: object) -> int | None:
    """Return a column of integers that may be null."""
    return None if value is None else as_int(value)


def as_int(value: object) -> int:
    """Return a column of integers."""
    assert isinstance(value, int)
    return value
