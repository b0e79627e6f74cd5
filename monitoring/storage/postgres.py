"""PostgreSQL as the monitor's database, shared by any number of monitors."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import StrDumper

from monitoring.errors import DatabaseUnavailable
from monitoring.storage.query import Lookup, Query, Row, RowQuery, Staged, Values
from monitoring.storage.sql import VERSION_TABLE
from registry.reply_limit import LimitedConnection

Found = TypeVar("Found")

# Settings that the address does not have. A server that is gone is noticed within half a minute,
# because a monitor that waits for ever looks like one with nothing to do.
_DEFAULTS: dict[str, str] = {
    "application_name": "driftline-monitor",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# One writer at a time, as in SQLite: what a transaction reads is still so when it writes.
_ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('driftline ' || current_schema()))"
# Migrations look at and change one schema, whatever others the address lists after it.
_ONE_SCHEMA = "SELECT set_config('search_path', quote_ident(current_schema()), false)"

_LOST = (  # the connection, or a server that has become a read-only standby
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
_MANY = 50  # rows: fewer are sent one by one
_LOCK = "hashtextextended(current_schema() || ' ' || %s::text, 0)"
_TRY_LOCK = f"SELECT pg_try_advisory_lock({_LOCK})"
_UNLOCK = f"SELECT pg_advisory_unlock({_LOCK})"
_IDLE_LIMITS = (
    "SET idle_session_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)
_HAS_VERSION = (
    "SELECT 1 FROM information_schema.tables "
    "WHERE table_schema = current_schema() AND table_name = %s"
)
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - constant text only


class MonitorConnection(LimitedConnection):
    """A connection of the monitor."""

    reply_s = 90.0  # longer than a stalled writer keeps its turn, see _IDLE_LIMITS


class Postgres:
    """A `Driver` (see database.py) on one connection to a server, made again when it is lost.

    Outside a transaction a statement is tried once more on a new connection. Within one, the
    transaction is lost with the connection, and `DatabaseUnavailable` reports it; whether a commit
    without a reply was made, the next reader of the database sees.
    """

    def __init__(self, url: str, *, reconnects: bool = True) -> None:
        """Connect; raises DatabaseUnavailable."""
        self._reconnects = reconnects
        try:
            self._where = make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(url)})
        except psycopg.ProgrammingError as error:
            raise DatabaseUnavailable(f"cannot read the database's address: {error}") from None
        self._connection = self._connect()

    def revision(self) -> str | None:
        """Read the revision of the schema; None if no migration has run."""
        if not self._execute(_HAS_VERSION, [VERSION_TABLE]).fetchall():
            return None
        rows = self._execute(_VERSION).fetchall()
        return str(rows[0][0]) if rows else None

    def migrate(self) -> None:
        """Run the migrations that the schema lacks, on a connection of their own."""
        from monitoring.storage.migrations import upgrade_postgresql  # noqa: PLC0415 - SQLAlchemy is slow to import

        try:
            upgrade_postgresql(lambda: psycopg.connect(self._where), _ONE_WRITER, _ONE_SCHEMA)
        except _LOST as error:
            raise DatabaseUnavailable(f"the database was lost: {_reason(error)}") from error

    def begin(self, *, serialized: bool) -> None:
        """Begin a transaction; `serialized`: after all other serialized ones have ended."""
        self._twice(lambda connection: connection.execute("BEGIN"))
        if serialized:
            self.serialize()

    def serialize(self) -> None:
        """Make the open transaction serialized; wait until all others of that kind have ended."""
        self._within(lambda connection: connection.execute(_ONE_WRITER))

    def commit(self) -> None:
        """Commit the transaction."""
        self._within(lambda connection: connection.execute("COMMIT"))

    def rollback(self) -> None:
        """Undo what the transaction did; a lost connection has done that already."""
        self._staging.clear()  # the tables that it made for them are gone as well
        if not self._connection.closed:
            self._within(lambda connection: connection.execute("ROLLBACK"))

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        done = statement.postgresql
        return self._execute(done.sql, done.values(values)).fetchall()

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; returns how many rows it touched."""
        done = statement.postgresql
        return self._execute(done.sql, done.values(values)).rowcount

    def _execute(self, sql: str, values: Values = ()) -> psycopg.Cursor[Row]:
        query = sql.encode()
        idle = self._connection.info.transaction_status in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )
        run = self._twice if idle else self._within
        return run(lambda connection: connection.execute(query, values))

    def look_up(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        return self._execute(lookup.postgresql, [list(names)]).fetchall()

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement for each row, within a transaction.

        Many rows are copied into a staging table first, which takes a tenth of the time.
        """
        if len(rows) >= _MANY:
            staged = statement.staged
            if staged.create not in self._staging:
                self._execute(staged.create)
                self._staging.add(staged.create)
            self._within(lambda connection: _copy(connection, staged, rows))
            return
        done = statement.postgresql
        ordered = done.rows(statement.columns, rows)
        if len(ordered) == 1:
            self._execute(done.sql, ordered[0])
            return
        query = done.sql.encode()
        self._within(lambda connection: connection.cursor().executemany(query, ordered))

    def limit_idleness(self) -> None:
        """Tell the server to end the connection, with its locks, if this process stalls."""
        for limit in _IDLE_LIMITS:
            self._execute(limit)

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until its end; False: another has it."""
        (lock_row,) = self._execute(_TRY_LOCK, [name]).fetchall()
        return lock_row[0] is True

    def unlock(self, name: str) -> None:
        """Release a lock."""
        self._execute(_UNLOCK, [name])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _connect(self) -> MonitorConnection:
        try:
            connection = MonitorConnection.connect(self._where, autocommit=True)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"the database cannot be reached: {_reason(error)}") from None
        connection.adapters.register_dumper(str, _Text)
        self._staging: set[str] = set()  # what created the staging tables of the connection
        return connection

    def _twice(self, work: Callable[[MonitorConnection], Found]) -> Found:
        """Do what stands alone, again on a new connection where the old one is lost."""
        if not self._connection.closed:
            try:
                return self._within(work)
            except DatabaseUnavailable:
                if not self._reconnects:
                    raise
        if not self._reconnects:
            raise DatabaseUnavailable("the connection to the database was lost")
        self._connection = self._connect()
        return self._within(work)

    def _within(self, work: Callable[[MonitorConnection], Found]) -> Found:
        try:
            return work(self._connection)
        except _LOST as error:
            # Whatever it was, a transaction that met it is over: begin the next one afresh.
            self._connection.close()
            raise DatabaseUnavailable(f"the database was lost: {_reason(error)}") from error


def _copy(connection: MonitorConnection, staged: Staged, rows: Sequence[Values]) -> None:
    cursor = connection.cursor()
    with cursor.copy(staged.copy.encode()) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(staged.run.sql.encode(), staged.run.values({}))
    cursor.execute(staged.empty.encode())


class _Text(StrDumper):
    """PostgreSQL's text holds every character but one."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\x00", "\N{SYMBOL FOR NULL}"))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
