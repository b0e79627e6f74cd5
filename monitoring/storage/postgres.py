"""PostgreSQL as the monitor's database: the schema and the statements of SQLite, by another name.

Everything in which the two differ is here. Statements are written once, in what both understand.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import StrDumper

from monitoring.errors import DatabaseUnavailable
from monitoring.storage.staging import Staged, stage

Found = TypeVar("Found")
Row = tuple[object, ...]

# Whatever the address does not say: a server that is gone without a word is given up within half
# a minute, because a monitor that waits for ever looks like one with nothing to do.
_DEFAULTS: dict[str, str] = {
    "application_name": "driftline-monitor",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_DIALECT = [  # SQLite's words and ours, in the schema; texts compare by their bytes, as there
    (r"\bINTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),
    (r"\) WITHOUT ROWID", ")"),
]
# One writer at a time, as SQLite has it: what a transaction reads is still so when it writes.
_ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('driftline ' || current_schema()))"


_MANY = 50  # rows: fewer are sent one by one
_LOCK = "hashtextextended(current_schema() || ' ' || ?, 0)"


class Postgres:
    """A `Driver` (see database.py) on one connection to a server, made again when it is lost.

    Outside a transaction a statement is tried once more on a new connection. Within one, the
    transaction is lost with the connection, and `DatabaseUnavailable` says so; whether a commit
    whose answer never came was kept, the next reader of the database sees.
    """

    def __init__(self, url: str, *, reconnects: bool = True) -> None:
        """Connect; raises DatabaseUnavailable."""
        self._reconnects = reconnects
        try:
            self._where = make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(url)})
        except psycopg.ProgrammingError as error:
            raise DatabaseUnavailable(f"cannot read the database's address: {error}") from None
        self._connection = self._connect()

    def columns(self) -> set[tuple[str, str]]:
        """What is there, by table and column."""
        found = self.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema()",
            (),
        )
        return {(str(table), str(column)) for table, column in found.fetchall()}

    def define(self, statement: str) -> None:
        """Run a statement of SQLite's that makes or changes a table or an index."""
        for theirs, ours in _DIALECT:
            statement = re.sub(theirs, ours, statement)
        self.execute(statement, ())

    def begin(self, *, alone: bool) -> None:
        """Begin a transaction; `alone`: after everybody else's of that kind."""
        self._twice(lambda connection: connection.execute("BEGIN"))
        if alone:
            self._within(lambda connection: connection.execute(_ONE_WRITER))

    def commit(self) -> None:
        """Keep what the transaction did."""
        self._within(lambda connection: connection.execute("COMMIT"))

    def rollback(self) -> None:
        """Undo what the transaction did; a lost connection has done that already."""
        self._statements.clear()  # the tables that it made for them are gone as well
        if not self._connection.closed:
            self._within(lambda connection: connection.execute("ROLLBACK"))

    def execute(self, statement: str, values: Sequence[object]) -> psycopg.Cursor[Row]:
        """Run one statement."""
        query = _translated(statement)
        idle = self._connection.info.transaction_status in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )
        run = self._twice if idle else self._within
        return run(lambda connection: connection.execute(query, values))

    def among(self, statement: str, names: Sequence[str]) -> list[Row]:
        """Every row of a query that asks with `IN (...)` for some of many names."""
        return self.execute(statement.replace("IN (...)", "= ANY(?)"), [names]).fetchall()

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row, within a transaction; no two may touch the same.

        Many rows are copied beside the table first, which takes a tenth of sending them one by one.
        """
        together = list(rows)
        staged = self._staged(statement) if len(together) >= _MANY else None
        if staged is None:
            query = _translated(statement)
            self._within(lambda connection: connection.cursor().executemany(query, together))
        else:
            self._within(lambda connection: _copied(connection, staged, together))

    def _staged(self, statement: str) -> Staged | None:
        """How to run a statement for copied rows; None where it has a shape that is not known."""
        if statement not in self._statements:
            self._statements[statement] = staged = stage(statement, self._types)
            if staged is not None:
                self.execute(staged.table, ())
        return self._statements[statement]

    def _types(self, table: str) -> dict[str, str]:
        found = self.execute(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
            (table,),
        )
        return {str(name): str(kind) for name, kind in found.fetchall()}

    def try_lock(self, name: str) -> bool:
        """Take a lock that this connection holds until its end; False: another has it."""
        (found,) = self.execute(f"SELECT pg_try_advisory_lock({_LOCK})", (name,)).fetchall()
        return found[0] is True

    def unlock(self, name: str) -> None:
        """Give a lock back."""
        self.execute(f"SELECT pg_advisory_unlock({_LOCK})", (name,))

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _connect(self) -> psycopg.Connection[Row]:
        try:
            connection: psycopg.Connection[Row] = psycopg.connect(self._where, autocommit=True)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"the database cannot be reached: {_said(error)}") from None
        connection.adapters.register_dumper(str, _Text)
        self._statements: dict[str, Staged | None] = {}  # for which a table was made on it
        return connection

    def _twice(self, work: Callable[[psycopg.Connection[Row]], Found]) -> Found:
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

    def _within(self, work: Callable[[psycopg.Connection[Row]], Found]) -> Found:
        try:
            return work(self._connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # Whatever it was, a transaction that met it is over: begin the next one afresh.
            self._connection.close()
            raise DatabaseUnavailable(f"the database was lost: {_said(error)}") from error


def _copied(
    connection: psycopg.Connection[Row], staged: Staged, rows: Sequence[Sequence[object]]
) -> None:
    cursor = connection.cursor()
    with cursor.copy(staged.copy.encode()) as copy:
        for row in rows:
            copy.write_row(row)
    cursor.execute(staged.statement.encode())
    cursor.execute(staged.empty.encode())


class _Text(StrDumper):
    """PostgreSQL's text holds every character but one."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\x00", "\N{SYMBOL FOR NULL}"))


@cache
def _translated(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
