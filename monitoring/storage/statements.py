"""Define statements with SQLAlchemy and compile them for both databases.

Reads and deletions have named values. Insertions and updates are *row statements*, which are run
for one or many rows of values. Each row statement is built in two forms from one definition: with a
bind parameter for each value (`executemany`), and for all rows of a staging table (`COPY`).

Running a compiled statement does not import this module (see query.py), because importing
SQLAlchemy takes longer than most commands.
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
    """An insertion of rows; an existing key is an error, or its row is kept or updated."""

    def __init__(
        self,
        table: Table,
        *names: str,
        keep: bool = False,
        replace: Sequence[str] = (),
        add: Sequence[str] = (),
    ) -> None:
        """Insert values for the columns `names` (default: all columns).

        If the key exists and `keep` is True, the old row stays unchanged. Otherwise, the columns
        `replace` get the new values, and the new values are added to the columns `add`. Without
        any of the three, an existing key is an error.
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
    """A change of a table by rows of values; no two may change the same stored row."""

    def __init__(
        self,
        columns: Mapping[str, ColumnElement[Any]],
        build: Callable[[RowValues], Insert | Update | Delete],
    ) -> None:
        """Create a statement for rows with the values `columns`; `build` builds the SQL."""
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
    """Compile a query for rows whose column has one of many values."""
    column = lookup.column
    among = lookup.statement.where(column.in_([bindparam("name", type_=column.type)]))
    of_array = lookup.statement.where(column == any_(bindparam("names", type_=ARRAY(Text))))
    return Lookup(_compiled(among, SQLITE).sql, _compiled(of_array, POSTGRESQL).sql)


def compile_rows(statement: RowStatement, name: str) -> RowQuery:
    """Compile a row statement; its staging table is named `name`."""
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
    """Compile a row statement for one row; its parameters are named like the columns."""
    compiled = _compiled(statement.for_one(dialect), dialect)
    names = tuple(name.removeprefix(_PREFIX) for name in compiled.names)
    return Compiled(compiled.sql, names, compiled.constants)


def _compiled(statement: Executable, dialect: Dialect) -> Compiled:
    compiler = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    assert isinstance(compiler, SQLCompiler)
    assert "POSTCOMPILE" not in compiler.string  # SQLAlchemy would expand such parameters later
    binds = compiler.binds
    names = tuple(compiler.positiontup or ())
    constants = {name: binds[name].value for name in names if not binds[name].required}
    return Compiled(compiler.string, names, constants)


def _insert(table: Table, dialect: Dialect) -> _Insert:
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


_PREFIX = "given_"  # prefix of parameter names, because SQLAlchemy reserves column names


def _bound(columns: Mapping[str, ColumnElement[Any]]) -> dict[str, ColumnElement[Any]]:
    return {name: bindparam(_PREFIX + name, type_=column.type) for name, column in columns.items()}


def values_of(table: Table, *names: str) -> dict[str, Column[Any]]:
    """Return the columns of these names, to declare the values of a RowChange."""
    return {name: table.c[name] for name in names}
