"""The monitor's database: a path opens an SQLite file, a URL opens PostgreSQL."""

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
DatabaseAddress = Path | str  # an SQLite file, or postgresql://...


class Driver(Protocol):
    """One connection to one kind of database.

    Serialized transactions run one after another. Every method raises `DatabaseUnavailable` if the
    server is lost or the file is locked, full or unreadable. The open transaction is then lost, but
    later transactions can succeed.
    """

    def revision(self) -> str | None:
        """Read the schema's revision; None if no migration has run."""
        ...

    def migrate(self) -> None:
        """Run the missing migrations; raises NewerDatabase and OlderMonitor."""
        ...

    def begin(self, *, serialized: bool) -> None:
        """Begin a transaction; if `serialized`, wait until other serialized transactions end."""
        ...

    def serialize(self) -> None:
        """Make the open transaction serialized; wait until other serialized transactions end."""
        ...

    def commit(self) -> None:
        """Commit the transaction."""
        ...

    def rollback(self) -> None:
        """Roll the transaction back."""
        ...

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        ...

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; return the number of changed rows."""
        ...

    def look_up(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        ...

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement once per row of values; no two may change the same stored row."""
        ...

    def limit_idleness(self) -> None:
        """Have the server end this connection, with its locks, if its process stalls for 30 s."""
        ...

    def try_lock(self, name: str) -> bool:
        """Lock `name` until `unlock` or the connection's end; False if it is locked elsewhere.

        The lock is always granted if the database allows only one monitor.
        """
        ...

    def unlock(self, name: str) -> None:
        """Release a lock."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Database:
    """One connection; several threads can use it, one at a time.

    Statements can be text; they then refer to their values as `:name`.
    """

    def __init__(
        self, address: DatabaseAddress, *, reconnects: bool = True, durable: bool = True
    ) -> None:
        """Open the database and migrate it to this release's schema.

        Without `reconnects`, a lost connection is not re-opened, because its locks are lost. If
        `durable` is False, writes to a file are faster, but a crash can damage the file.
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
        """Run the block in a transaction: commit at the block's end, roll back on an exception.

        If `serialized` is False, other transactions can write at the same time: write only rows
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
        """Make the open transaction serialized; wait until other serialized transactions end."""
        self._driver.serialize()

    def all(self, statement: Query | str, **values: object) -> list[Row]:
        """Read every row of a query."""
        return self._driver.read(_statement(statement), values)

    def look_up(self, lookup: Lookup, names: Iterable[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        return self._driver.look_up(lookup, list(names))

    def one(self, statement: Query | str, **values: object) -> Row | None:
        """Read the only row of a query; None if there is no row."""
        rows = self._driver.read(_statement(statement), values)
        return rows[0] if rows else None

    def do(self, statement: Query | str, **values: object) -> int:
        """Run a statement; return the number of changed rows."""
        return self._driver.change(_statement(statement), values)

    def write(self, statement: RowQuery, *values: object) -> None:
        """Run a row statement for one row of values."""
        self._driver.write(statement, [values])

    def many(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement once per row of values; no two may change the same stored row."""
        if rows:
            self._driver.write(statement, rows)

    def limit_idleness(self) -> None:
        """Have the server end this connection, with its locks, if its process stalls for 30 s."""
        self._driver.limit_idleness()

    def try_lock(self, name: str) -> bool:
        """Lock `name` until `unlock` or the connection's end; False if it is locked elsewhere.

        The lock is always granted in SQLite, which allows only one monitor.
        """
        return self._driver.try_lock(name)

    def unlock(self, name: str) -> None:
        """Release a lock."""
        self._driver.unlock(name)

    def close(self) -> None:
        """Close the connection."""
        self._driver.close()


def exists(address: DatabaseAddress) -> bool:
    """Return False for a missing SQLite file, without creating it; True for PostgreSQL."""
    return not isinstance(address, Path) or address.exists()


def _driver(address: DatabaseAddress, *, reconnects: bool, durable: bool) -> Driver:
    if isinstance(address, Path):
        return Sqlite(address, durable=durable)
    from monitoring.storage.postgres import Postgres  # noqa: PLC0415 - needs psycopg

    return Postgres(address, reconnects=reconnects)


def _statement(statement: Query | str) -> Query:
    return _compiled(statement) if isinstance(statement, str) else statement


@lru_cache
def _compiled(statement: str) -> Query:
    from monitoring.storage.statements import compile_text  # noqa: PLC0415 - SQLAlchemy is slow to import

    return compile_text(statement)


def as_struct(value: object, kind: type[Kind]) -> Kind:
    """Decode a row's JSON value."""
    return msgspec.json.decode(as_bytes(value), type=kind)


def as_bytes(value: object) -> bytes:
    """Return a row's value, which must be bytes."""
    assert isinstance(value, bytes)
    return value


def as_bytes_or_none(value: object) -> bytes | None:
    """Return a row's value, which must be bytes or null."""
    return None if value is None else as_bytes(value)


def as_int_or_none(value: object) -> int | None:
    """Return a row's value, which must be an integer or null."""
    return None if value is None else as_int(value)


def as_int(value: object) -> int:
    """Return a row's value, which must be an integer."""
    assert isinstance(value, int)
    return value
