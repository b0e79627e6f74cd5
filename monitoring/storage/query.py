"""Types of the compiled statements of `monitoring.storage.sql`, which drivers run.

Each statement has an SQLite and a PostgreSQL form. `python -m monitoring.storage.sql_writer` writes
the package `sql` from `queries`.
"""

from collections.abc import Mapping, Sequence

import msgspec

Values = Sequence[object]  # values of a statement, in the order of its placeholders or columns
Row = tuple[object, ...]  # one row that a query returns


class Compiled(msgspec.Struct, frozen=True):
    """A statement in one database's SQL."""

    sql: str
    names: tuple[str, ...] = ()  # names of the values, in the order of the placeholders
    constants: dict[str, object] = {}  # values that the statement's definition fixes, by name

    def values(self, values: Mapping[str, object]) -> Values:
        """Return values in the order of the placeholders; raises KeyError for a missing value."""
        all_values = {**self.constants, **values} if self.constants else values
        return [all_values[name] for name in self.names]

    def rows(self, names: tuple[str, ...], rows: Sequence[Values]) -> Sequence[Values]:
        """Reorder the values of each row from the order of `names` to the placeholders' order."""
        if self.names == names:
            return rows
        return [self.values(dict(zip(names, row, strict=True))) for row in rows]


class Query(msgspec.Struct, frozen=True):
    """A read or a deletion with named values."""

    sqlite: Compiled
    postgresql: Compiled


class Lookup(msgspec.Struct, frozen=True):
    """A read of the rows whose column has one of many values.

    SQLite's statement contains `(?)`, which the driver replaces by one placeholder per value.
    PostgreSQL's statement has one placeholder for an array of all values.
    """

    sqlite: str
    postgresql: str


class Staged(msgspec.Struct, frozen=True):
    """PostgreSQL statements that run a row statement for many rows through a temporary table."""

    create: str  # creates the temporary table
    copy: str  # copies the rows into the temporary table
    run: Compiled  # runs the row statement for all rows of the temporary table
    empty: str  # truncates the temporary table


class RowQuery(msgspec.Struct, frozen=True):
    """A statement that is run for one or many rows of values, in the order of `columns`."""

    columns: tuple[str, ...]
    sqlite: Compiled
    postgresql: Compiled
    staged: Staged
