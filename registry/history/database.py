"""The registry's database, which is a SQLite file or a PostgreSQL server."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from registry.errors import RegistryUnavailable
from registry.history.sqlite import SqliteDatabase

DatabaseAddress = Path | str  # a file, or postgresql://...


class HistoryConnection(Protocol):
    """Run the statements of `sql.py`, named by their keys, in one transaction."""

    def all(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Return all result rows of a statement."""
        ...

    def many(self, statement: str, rows: Sequence[dict[str, object]]) -> None:
        """Run a statement once for each dictionary of values."""
        ...


class HistoryDatabase(Protocol):
    """Transactions on one kind of database; safe across threads and processes.

    Raises RegistryUnavailable while the database cannot be used, and IncompatibleRegistry if a
    newer release has migrated it.
    """

    def transaction(self, *, write: bool = False) -> AbstractContextManager[HistoryConnection]:
        """Run the block in a transaction; if `write`, after all other writers."""
        ...

    def time_ns(self) -> int:
        """Return the time of changes in nanoseconds, by the database's clock."""
        ...

    def close(self) -> None:
        """Close open connections."""
        ...


def open_database(address: DatabaseAddress) -> HistoryDatabase:
    """Return the database at an address; raises RegistryUnavailable for an unknown kind."""
    if isinstance(address, Path):
        return SqliteDatabase(address)
    if not address.startswith(("postgresql://", "postgres://")):
        kind = address.partition(":")[0]
        raise RegistryUnavailable(
            f"DRIFTLINE_REGISTRY: expected postgresql://HOST/DATABASE or no value, not {kind}:..."
        )
    try:
        from registry.history.postgres import PostgresDatabase  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise RegistryUnavailable(
            f"DRIFTLINE_REGISTRY needs psycopg: {error}; install driftline[registry]"
        ) from None
    return PostgresDatabase(address)
