"""Statements of SQLAlchemy, compiled once for a database and run on its own driver.

Reads and deletions take named values. Insertions and updates are *row statements*: they take rows
of values, one or many. They are built from the same definition in two forms: with a bind parameter
for each value (`executemany`), or for all rows of a staging table at once (`COPY`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Delete,
    Dialect,
    Executable,
    Insert,
    Table,
    Update,
    bindparam,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"
LIMIT: BindParameter[int] = bindparam("limit", type_=BigInteger)

Given = Mapping[str, ColumnElement[Any]]  # a row's values by name
Values = Sequence[object]  # of a statement, in the order of its placeholders or columns
Row = tuple[object, ...]  # that a query found


class Compiled(msgspec.Struct, frozen=True):
    """A statement in a database's own words."""

    sql: str
    names: tuple[str, ...]  # of the values, in the order of the placeholders
    constants: dict[str, object]  # the values that are part of the statement

    def values(self, given: Mapping[str, object]) -> Values:
        """Values in the order of the placeholders; raises KeyError where one is missing."""
        known = {**self.constants, **given} if self.constants else given
        return [known[name] for name in self.names]

    def rows(self, names: tuple[str, ...], rows: Sequence[Values]) -> Sequence[Values]:
        """Rows of values, each in the order of `names`, in the order of the placeholders."""
        if self.names == names:
            return rows
        return [self.values(dict(zip(names, row, strict=True))) for row in rows]


@lru_cache(maxsize=1_000)
def compiled(statement: Executable, dialect: Dialect) -> Compiled:
    """Compile a statement; the same object is compiled once."""
    done = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    assert isinstance(done, SQLCompiler)
    assert "POSTCOMPILE" not in done.string
    constants = {name: bind.value for name, bind in done.binds.items() if not bind.required}
    return Compiled(done.string, tuple(done.positiontup or ()), constants)


class RowInsert:
    """Insert rows; where a key exists, fail, keep the old row, or update it."""

    def __init__(
        self,
        table: Table,
        *names: str,
        keep: bool = False,
        replace: Sequence[str] = (),
        add: Sequence[str] = (),
    ) -> None:
        """Values are those of the columns `names` (none: all).

        Where the key exists, `keep` keeps the old row. Otherwise the columns `replace` take the new
        value, and it is added to the columns `add`.
        """
        self.table = table
        self.columns = {name: table.c[name] for name in names or table.c.keys()}
        self.names = tuple(self.columns)
        self._keep = keep
        self._replace = replace
        self._add = add

    def for_one(self, dialect: Dialect) -> Executable:
        """Build the statement for one row, with a bind parameter for each value."""
        return self._on_conflict(_insert(self.table, dialect).values(_given(self.columns)))

    def for_all(self, dialect: Dialect, staged: Table) -> Executable:
        """Build the statement for all rows of a staging table."""
        insert = _insert(self.table, dialect)
        return self._on_conflict(insert.from_select([*self.columns], select(*staged.c)))

    def _on_conflict(self, insert: "_Insert") -> "_Insert":
        if self._keep:
            return insert.on_conflict_do_nothing()
        if not self._replace and not self._add:
            return insert
        new, old = insert.excluded, self.table.c
        changes: dict[str, ColumnElement[Any]] = {name: new[name] for name in self._replace}
        changes |= {name: old[name] + new[name] for name in self._add}
        return insert.on_conflict_do_update(index_elements=[*self.table.primary_key], set_=changes)


class RowChange:
    """Change a table by rows of values; of many rows, no two may touch the same."""

    def __init__(
        self,
        columns: Mapping[str, ColumnElement[Any]],
        build: Callable[[Given], Insert | Update | Delete],
    ) -> None:
        """Values have the types of `columns` and come in their order."""
        self.columns = columns
        self.names = tuple(columns)
        self._build = build

    def for_one(self, dialect: Dialect) -> Executable:  # noqa: ARG002 - the same in each
        """Build the statement for one row, with a bind parameter for each value."""
        return self._build(_given(self.columns))

    def for_all(self, dialect: Dialect, staged: Table) -> Executable:  # noqa: ARG002 - the same
        """Build the statement for all rows of a staging table."""
        return self._build({column.name: column for column in staged.c})


RowStatement = RowInsert | RowChange


@lru_cache(maxsize=1_000)
def for_one(statement: RowStatement, dialect: Dialect) -> Compiled:
    """Compile a row statement for one row; its names are those of the statement's columns."""
    done = compiled(statement.for_one(dialect), dialect)
    names = tuple(name.removeprefix(_PREFIX) for name in done.names)
    return Compiled(done.sql, names, done.constants)


def _insert(table: Table, dialect: Dialect) -> "_Insert":
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - a file's readers do without

    return postgresql.insert(table)


_PREFIX = "given_"  # SQLAlchemy reserves the names of columns


def _given(columns: Mapping[str, ColumnElement[Any]]) -> dict[str, ColumnElement[Any]]:
    return {name: bindparam(_PREFIX + name, type_=one.type) for name, one in columns.items()}


def values_of(table: Table, *names: str) -> dict[str, Column[Any]]:
    """The columns of these names, as the values of a row statement."""
    return {name: table.c[name] for name in names}
