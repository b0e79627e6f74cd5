"""PostgreSQL as the registry's database, shared by any number of machines."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from registry.errors import IncompatibleRegistry, RegistryUnavailable
from registry.history.server_clock import ServerClock
from registry.history.sql import POSTGRESQL, REVISION, VERSION_TABLE
from registry.history.sqlite import MIGRATED
from registry.reply_limit import LimitedConnection

# Defaults for settings that the address does not state. A lost server is detected within 10 s.
_DEFAULTS: dict[str, str] = {
    "application_name": "driftline-registry",
    "client_encoding": "UTF8",
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# As in SQLite, there is one writer at a time, so that revisions have no gaps and one order.
_ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('driftline registry ' || current_schema()))"
_TIME = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_HAS_TABLE = (
    "SELECT 1 FROM information_schema.tables "
    "WHERE table_schema = current_schema() AND table_name = %s"
)


class ServerConnection(LimitedConnection):
    """A connection to the history's server."""

    reply_s = 15.0  # longer than the transaction of any other writer


class PostgresConnection:
    """A `HistoryConnection` (see database.py) to the server."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    def all(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """Return all result rows of a statement of `sql.py`."""
        return self._connection.execute(POSTGRESQL[statement].encode(), values).fetchall()

    def many(self, statement: str, rows: Sequence[dict[str, object]]) -> None:
        """Run a statement once for each dictionary of values."""
        self._connection.cursor().executemany(POSTGRESQL[statement].encode(), rows)


class PostgresDatabase:
    """A `HistoryDatabase` with one connection, which is reopened if lost; safe across threads."""

    def __init__(self, url: str) -> None:
        try:
            parameters = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise RegistryUnavailable(
                f"DRIFTLINE_REGISTRY cannot be read as an address: {_line(error)}"
            ) from None
        self._where = make_conninfo("", **{**_DEFAULTS, **parameters})
        self._name = (
            f"registry database {parameters.get('host') or ''}:{parameters.get('port') or 5432}"
        )
        self._clock = ServerClock(self._name)
        self._lock = threading.Lock()
        self._idle: ServerConnection | None = None
        self._prepared = False

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[PostgresConnection]:
        """Run the block in a transaction; if `write`, after all other writers."""
        with self._lock:
            try:
                connection = self._begin()
                try:
                    if write:
                        connection.execute(_ONE_WRITER)
                        self._require_schema(connection)
                    else:
                        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    yield PostgresConnection(connection)
                    connection.execute("COMMIT")
                finally:
                    self._release(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                raise RegistryUnavailable(f"{self._name}: {_line(error)}") from error
            except psycopg.errors.ReadOnlySqlTransaction as error:
                raise RegistryUnavailable(f"{self._name} is read-only now") from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise RegistryUnavailable(f"{self._name}: {_line(error)}") from error

    def time_ns(self) -> int:
        """Return the time by the server's clock, as measured by the last transactions."""
        return self._clock.time_ns()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._idle is not None:
                self._idle.close()

    def _begin(self) -> ServerConnection:
        """Begin a transaction on the idle connection, or on a new one if it is lost."""
        if self._idle is not None and not self._idle.closed:
            with suppress(psycopg.OperationalError, psycopg.InterfaceError):
                self._follow_clock(self._idle)
                self._idle.execute("BEGIN")
                return self._idle
            self._idle.close()
        self._idle = self._connect()
        if not self._prepared:
            self._prepare(self._idle)
            self._prepared = True
        self._follow_clock(self._idle)
        self._idle.execute("BEGIN")
        return self._idle

    def _follow_clock(self, connection: ServerConnection) -> None:
        if self._clock.due:
            self._clock.measure(lambda: _server_us(connection))

    def _release(self, connection: ServerConnection) -> None:
        """Roll back an uncommitted transaction."""
        if connection.closed:
            return
        if connection.info.transaction_status != pq.TransactionStatus.IDLE:
            try:
                connection.execute("ROLLBACK")
            except psycopg.Error:
                connection.close()

    def _connect(self) -> ServerConnection:
        return ServerConnection.connect(self._where, autocommit=True)

    def _connect_patiently(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._where, autocommit=True)

    def _require_schema(self, connection: ServerConnection) -> None:
        """Raise IncompatibleRegistry if a newer release has migrated the table."""
        if _revision(connection) != REVISION:
            raise IncompatibleRegistry(f"{self._name}: {MIGRATED}")

    def _prepare(self, connection: ServerConnection) -> None:
        """Create the table, or migrate it if its revision is older."""
        revision = None
        if connection.execute(_HAS_TABLE, (VERSION_TABLE,)).fetchone() is not None:
            revision = _revision(connection)
        if revision != REVISION:
            # Alembic and SQLAlchemy are imported only if a migration runs.
            from registry.history.migrations import migrate_server  # noqa: PLC0415

            try:
                migrate_server(self._connect_patiently, _ONE_WRITER)
            except IncompatibleRegistry as error:
                raise IncompatibleRegistry(f"{self._name}: {error}") from None


def _server_us(connection: ServerConnection) -> int:
    row = connection.execute(_TIME).fetchone()
    assert row is not None
    return int(str(row[0]))


def _revision(connection: ServerConnection) -> object:
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - constant text only
    return None if row is None else row[0]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
