"""Define statements with SQLAlchemy and compile them for both databases.

Reads and deletions take named values. Insertions and updates are *row statements*: they take rows
of values, one or many. They are built from the same definition in two forms: with a bind parameter
for each value (`executemany`), or for all rows of a staging table together (`COPY`).

Running a statement does not import this module (see query.py): importing SQLAlchemy takes longer
than most commands.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Delete,
    Dialect,
    Executable,
    Insert,
    MetaData,
    Select,
    Table,
    Text,
    Update,
    any_,
    bindparam,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from monitoring.storage.query import Compiled, Lookup, Query, RowQuery, Staged

SQLITE = SQLiteDialect_pysqlite()
POSTGRESQL = PGDialect_psycopg(paramstyle="format")  # type: ignore[no-untyped-call]

_Insert: TypeAlias = postgresql.Insert | sqlite.Insert
LIMIT: BindParameter[int] = bindparam("limit", type_=BigInteger)

RowValues = Mapping[str, ColumnElement[Any]]  # a row's values by name


class OneOfMany:
    """A query for the rows whose column has one of many values."""

    def __init__(self, statement: Select[Any], column: Column[str]) -> None:
        self.statement = statement
        self.column = column


class RowInsert:
    """Insert rows; if a key exists, fail, keep the old row, or update it."""

    def __init__(
        self,
        table: Table,
        *names: str,
        keep: bool = False,
        replace: Sequence[str] = (),
        add: Sequence[str] = (),
    ) -> None:
        """Each row has values for the columns `names`; all columns if there are none.

        If the key exists, `keep` retains the old row. Without it, the columns `replace` get the
        new values, and the columns `add` grow by them.
        """
        self.table = table
        self.columns = {name: table.c[name] for name in names or table.c.keys()}
        self._keep = keep
        self._replace = replace
        self._add = add

    def for_one(self, dialect: Dialect) -> Executable:
        """Build the statement for one row, with a bind parameter for each value."""
        return self._on_conflict(_insert(self.table, dialect).values(_bound(self.columns)))

    def for_all(self, dialect: Dialect, staged: Table) -> Executable:
        """Build the statement for all rows of a staging table."""
        insert = _insert(self.table, dialect)
        return self._on_conflict(insert.from_select([*self.columns], select(*staged.c)))

    def _on_conflict(self, insert: _Insert) -> _Insert:
        if self._keep:
            return insert.on_conflict_do_nothing()
        if not self._replace and not self._add:
            return insert
        new, old = insert.excluded, self.table.c
        changes: dict[str, ColumnElement[Any]] = {name: new[name] for name in self._replace}
        changes |= {name: old[name] + new[name] for name in self._add}
        return insert.on_conflict_do_update(index_elements=[*self.table.primary_key], set_=changes)


class RowChange:
    """Change a table by rows of values; no two may change the same row."""

    def __init__(
        self,
        columns: Mapping[str, ColumnElement[Any]],
        build: Callable[[RowValues], Insert | Update | Delete],
    ) -> None:
        """Values have the types of `columns` and come in their order."""
        self.columns = columns
        self._build = build

    def for_one(self, dialect: Dialect) -> Executable:  # noqa: ARG002 - implements a protocol
        """Build the statement for one row, with a bind parameter for each value."""
        return self._build(_bound(self.columns))

    def for_all(self, dialect: Dialect, staged: Table) -> Executable:  # noqa: ARG002 - implements a protocol
        """Build the statement for all rows of a staging table."""
        return self._build({column.name: column for column in staged.c})


RowStatement = RowInsert | RowChange


def compile_text(statement: str) -> Query:
    """Compile a statement given as text, with its values as `:name`."""
    return compile_query(text(statement))


def compile_query(statement: Executable) -> Query:
    """Compile a read or a deletion."""
    return Query(_compiled(statement, SQLITE), _compiled(statement, POSTGRESQL))


def compile_lookup(lookup: OneOfMany) -> Lookup:
    """Compile a query for one of many values."""
    column = lookup.column
    among = lookup.statement.where(column.in_([bindparam("name", type_=column.type)]))
    of_array = lookup.statement.where(column == any_(bindparam("names", type_=ARRAY(Text))))
    return Lookup(_compiled(among, SQLITE).sql, _compiled(of_array, POSTGRESQL).sql)


def compile_rows(statement: RowStatement, name: str) -> RowQuery:
    """Compile a row statement; `name` is that of its staging table."""
    columns = [Column(name, column.type) for name, column in statement.columns.items()]
    table = Table(name, MetaData(), *columns, prefixes=["TEMPORARY"])
    staged = Staged(
        str(CreateTable(table, if_not_exists=True).compile(dialect=POSTGRESQL)),
        f"COPY {name} FROM STDIN",
        _compiled(statement.for_all(POSTGRESQL, table), POSTGRESQL),
        f"TRUNCATE {name}",
    )
    sqlite, postgresql = (_for_one(statement, dialect) for dialect in (SQLITE, POSTGRESQL))
    return RowQuery(tuple(statement.columns), sqlite, postgresql, staged)


def _for_one(statement: RowStatement, dialect: Dialect) -> Compiled:
    """Compile a row statement for one row; its parameters have the names of the columns."""
    done = _compiled(statement.for_one(dialect), dialect)
    names = tuple(name.removeprefix(_PREFIX) for name in done.names)
    return Compiled(done.sql, names, done.constants)


def _compiled(statement: Executable, dialect: Dialect) -> Compiled:
    done = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    assert isinstance(done, SQLCompiler)
    assert "POSTCOMPILE" not in done.string
    names = tuple(done.positiontup or ())
    constants = {name: done.binds[name].value for name in names if not done.binds[name].required}
    return Compiled(done.string, names, constants)


def _insert(table: Table, dialect: Dialect) -> _Insert:
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


_PREFIX = "given_"  # SQLAlchemy reserves the names of columns


def _bound(columns: Mapping[str, ColumnElement[Any]]) -> dict[str, ColumnElement[Any]]:
    return {name: bindparam(_PREFIX + name, type_=column.type) for name, column in columns.items()}


def values_of(table: Table, *names: str) -> dict[str, Column[Any]]:
    """Return the columns of these names, as the values of a row statement."""
    return {name: table.c[name] for name in names}
