"""Statements in the words of both databases, as `sql` holds them and drivers run them.

`monitoring.storage.sql` is written by `python -m monitoring.storage.sql_writer` from `queries`.
"""

from collections.abc import Mapping, Sequence

import msgspec

Values = Sequence[object]  # values of a statement, in the order of its placeholders or columns
Row = tuple[object, ...]  # one row of a result


class Compiled(msgspec.Struct, frozen=True):
    """A statement in a database's own words."""

    sql: str
    names: tuple[str, ...] = ()  # names of the values, in the order of the placeholders
    constants: dict[str, object] = {}  # the values that are part of the statement

    def values(self, values: Mapping[str, object]) -> Values:
        """Return values in the order of the placeholders; raises KeyError if one is missing."""
        all_values = {**self.constants, **values} if self.constants else values
        return [all_values[name] for name in self.names]

    def rows(self, names: tuple[str, ...], rows: Sequence[Values]) -> Sequence[Values]:
        """Return rows of values, each in the order of `names`, in the order of the placeholders."""
        if self.names == names:
            return rows
        return [self.values(dict(zip(names, row, strict=True))) for row in rows]


class Query(msgspec.Struct, frozen=True):
    """A read or a deletion; its values have names."""

    sqlite: Compiled
    postgresql: Compiled


class Lookup(msgspec.Struct, frozen=True):
    """A read of the rows whose column has one of many values.

    SQLite's statement has one placeholder, in brackets, for all of them; PostgreSQL's has one for
    an array.
    """

    sqlite: str
    postgresql: str


class Staged(msgspec.Struct, frozen=True):
    """A row statement for all rows of a temporary table of PostgreSQL, and that table."""

    create: str
    copy: str
    run: Compiled
    empty: str


class RowQuery(msgspec.Struct, frozen=True):
    """A row statement: it takes rows of values, one or many, in the order of `columns`."""

    columns: tuple[str, ...]
    sqlite: Compiled
    postgresql: Compiled
    staged: Staged
