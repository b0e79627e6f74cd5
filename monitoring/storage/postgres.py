"""PostgreSQL as the monitor's database; several monitors can share it."""

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

Outcome = TypeVar("Outcome")

# Defaults for settings that the URL does not contain. The timeouts detect a lost server within half
# a minute, because a monitor that waits for ever looks like an idle monitor.
_DEFAULTS: dict[str, str] = {
    "application_name": "driftline-monitor",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# One writer at a time, as in SQLite, so that no row changes between a transaction's read and write.
_ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('driftline ' || current_schema()))"
# Limits migrations to one schema, even if the URL's search path lists several.
_ONE_SCHEMA = "SELECT set_config('search_path', quote_ident(current_schema()), false)"

_LOST = (  # errors of a lost connection, or of a server that has become a read-only standby
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
_MANY = 50  # smallest number of rows for which a staging table is used
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
    """A connection that gives up waiting for a reply after `reply_s` seconds."""

    reply_s = 90.0  # longer than a stalled writer can block others, see _IDLE_LIMITS


class Postgres:
    """A `Driver` (see database.py) on one connection to a server, re-opened after a loss.

    Outside a transaction, a statement is retried once on a new connection. Inside a transaction,
    `DatabaseUnavailable` reports that the transaction is lost. If the connection is lost during a
    commit, only the database's content shows whether the commit took place.
    """

    def __init__(self, url: str, *, reconnects: bool = True) -> None:
        """Connect to the server; raises DatabaseUnavailable."""
        self._reconnects = reconnects
        try:
            self._conninfo = make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(url)})
        except psycopg.ProgrammingError as error:
            raise DatabaseUnavailable(f"cannot read the database's address: {error}") from None
        self._connection = self._connect()

    def revision(self) -> str | None:
        """Read the schema's revision; None if no migration has run."""
        if not self._execute(_HAS_VERSION, [VERSION_TABLE]).fetchall():
            return None
        rows = self._execute(_VERSION).fetchall()
        return str(rows[0][0]) if rows else None

    def migrate(self) -> None:
        """Run the missing migrations on a separate connection."""
        from monitoring.storage.migrations import upgrade_postgresql  # noqa: PLC0415 - SQLAlchemy is slow to import

        try:
            upgrade_postgresql(lambda: psycopg.connect(self._conninfo), _ONE_WRITER, _ONE_SCHEMA)
        except _LOST as error:
            raise DatabaseUnavailable(f"the database was lost: {_reason(error)}") from error

    def begin(self, *, serialized: bool) -> None:
        """Begin a transaction; if `serialized`, wait until other serialized transactions end."""
        self._run_with_retry(lambda connection: connection.execute("BEGIN"))
        if serialized:
            self.serialize()

    def serialize(self) -> None:
        """Make the open transaction serialized; wait until other serialized transactions end."""
        self._run(lambda connection: connection.execute(_ONE_WRITER))

    def commit(self) -> None:
        """Commit the transaction."""
        self._run(lambda connection: connection.execute("COMMIT"))

    def rollback(self) -> None:
        """Roll back, unless the connection is lost, which also rolls back."""
        self._staging.clear()  # a rollback also drops the staging tables that it created
        if not self._connection.closed:
            self._run(lambda connection: connection.execute("ROLLBACK"))

    def read(self, statement: Query, values: Mapping[str, object]) -> list[Row]:
        """Read every row of a query."""
        compiled = statement.postgresql
        return self._execute(compiled.sql, compiled.values(values)).fetchall()

    def change(self, statement: Query, values: Mapping[str, object]) -> int:
        """Run a statement; return the number of changed rows."""
        compiled = statement.postgresql
        return self._execute(compiled.sql, compiled.values(values)).rowcount

    def _execute(self, sql: str, values: Values = ()) -> psycopg.Cursor[Row]:
        query = sql.encode()
        idle = self._connection.info.transaction_status in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )
        run = self._run_with_retry if idle else self._run
        return run(lambda connection: connection.execute(query, values))

    def look_up(self, lookup: Lookup, names: Sequence[str]) -> list[Row]:
        """Read the rows of a query whose column has one of many values."""
        return self._execute(lookup.postgresql, [list(names)]).fetchall()

    def write(self, statement: RowQuery, rows: Sequence[Values]) -> None:
        """Run a row statement once per row of values, inside a transaction.

        Many rows are first copied into a staging table, which takes a tenth of the time.
        """
        if len(rows) >= _MANY:
            staged = statement.staged
            if staged.create not in self._staging:
                self._execute(staged.create)
                self._staging.add(staged.create)
            self._run(lambda connection: _copy(connection, staged, rows))
            return
        compiled = statement.postgresql
        ordered = compiled.rows(statement.columns, rows)
        if len(ordered) == 1:
            self._execute(compiled.sql, ordered[0])
            return
        query = compiled.sql.encode()
        self._run(lambda connection: connection.cursor().executemany(query, ordered))

    def limit_idleness(self) -> None:
        """Have the server end this connection, with its locks, if this process stalls."""
        for limit in _IDLE_LIMITS:
            self._execute(limit)

    def try_lock(self, name: str) -> bool:
        """Lock `name` until `unlock` or the connection's end; False if it is locked elsewhere."""
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
            connection = MonitorConnection.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"the database cannot be reached: {_reason(error)}") from None
        connection.adapters.register_dumper(str, _Text)
        self._staging: set[str] = set()  # CREATE statements that this connection has run
        return connection

    def _run_with_retry(self, work: Callable[[MonitorConnection], Outcome]) -> Outcome:
        """Run work outside a transaction; retry it on a new connection if the old one is lost."""
        if not self._connection.closed:
            try:
                return self._run(work)
            except DatabaseUnavailable:
                if not self._reconnects:
                    raise
        if not self._reconnects:
            raise DatabaseUnavailable("the connection to the database was lost")
        self._connection = self._connect()
        return self._run(work)

    def _run(self, work: Callable[[MonitorConnection], Outcome]) -> Outcome:
        try:
            return work(self._connection)
        except _LOST as error:
            # The transaction cannot continue; the next transaction begins on a new connection.
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
    """Replace NUL, the only character that PostgreSQL's text cannot contain."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\x00", "\N{SYMBOL FOR NULL}"))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
