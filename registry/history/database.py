"""The registry's database: a file of SQLite, or a server of PostgreSQL, by its address."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from registry.errors import RegistryUnavailable
from registry.history.sqlite import SqliteDatabase

DatabaseAddress = Path | str  # a file, or postgresql://...


class HistoryConnection(Protocol):
    """Run the statements of `sql.py` in one transaction."""

    def all(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Read every row of a statement."""
        ...

    def many(self, statement: str, rows: Sequence[dict[str, object]]) -> None:
        """Run a statement once per row of values."""
        ...


class HistoryDatabase(Protocol):
    """Transactions on one kind of database; safe across threads and processes.

    Raises RegistryUnavailable while the database cannot be used, and IncompatibleRegistry if a
    newer release has migrated it.
    """

    def transaction(self, *, write: bool = False) -> AbstractContextManager[HistoryConnection]:
        """Do all of the block or nothing; with `write`, after every other writer."""
        ...

    def time_ns(self) -> int:
        """Return the database's time in nanoseconds, which dates changes."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def open_database(address: DatabaseAddress) -> HistoryDatabase:
    """Return the database of an address; raises RegistryUnavailable for an unknown kind."""
    if isinstance(address, Path):
        return SqliteDatabase(address)
    if not address.startswith(("postgresql://", "postgres://")):
        kind = address.partition(":")[0]
        raise RegistryUnavailable(
            f"DRIFTLINE_REGISTRY: expected postgresql://HOST/DATABASE or nothing, not {kind}:..."
        )
    try:
        from registry.history.postgres import PostgresDatabase  # noqa: PLC0415 - imported only where it is used
    except ImportError as error:
        raise RegistryUnavailable(
            f"DRIFTLINE_REGISTRY needs psycopg: {error}; install driftline[registry]"
        ) from None
    return PostgresDatabase(address)
