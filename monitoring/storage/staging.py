"""Statements for many rows at once, in PostgreSQL: the rows are copied into a table beside first.

The three shapes that the monitor's statements have are known here; any other is run row by row.
"""

import re
from collections.abc import Callable, Mapping
from zlib import crc32

import msgspec

_INSERT = re.compile(r"INSERT INTO (\w+) (?:\(([\w, ]+)\) )?VALUES \((?:\?, )*\?\)(.*)", re.DOTALL)
_UPDATE = re.compile(r"UPDATE (\w+) SET (.*?) WHERE (.*)", re.DOTALL)
_DELETE = re.compile(r"DELETE FROM (\w+) WHERE (.*)", re.DOTALL)
_COMPARED = re.compile(r"(\w+) [<>]?=? ?\?")  # the column that a value is set to or compared with


class Staged(msgspec.Struct, frozen=True):
    """One statement for all rows, and the table that it finds them in."""

    table: str  # makes it
    copy: str  # fills it
    statement: str
    empty: str


def stage(statement: str, types: Callable[[str], Mapping[str, str]]) -> Staged | None:
    """The statement for rows in a table of its own; `types` are those of a table's columns."""
    name = f"staged_{crc32(statement.encode()):08x}"
    if found := _INSERT.fullmatch(statement):
        known = types(found[1])
        columns = found[2].split(", ") if found[2] else list(known)
        into = f"{found[1]} ({', '.join(columns)})"
        all_at_once = f"INSERT INTO {into} SELECT * FROM {name}{found[3]}"  # noqa: S608 - ours
    elif found := _UPDATE.fullmatch(statement):
        known, columns = types(found[1]), _COMPARED.findall(statement)
        changed, where = _numbered(name, found[2], found[3])
        all_at_once = f"UPDATE {found[1]} SET {changed} FROM {name} WHERE {where}"  # noqa: S608 - ours
    elif found := _DELETE.fullmatch(statement):
        known, columns = types(found[1]), _COMPARED.findall(statement)
        (where,) = _numbered(name, found[2])
        all_at_once = f"DELETE FROM {found[1]} USING {name} WHERE {where}"  # noqa: S608 - ours
    else:
        return None
    if "?" in all_at_once or not {*columns} <= {*known} or len(columns) != statement.count("?"):
        return None
    kinds = ", ".join(f"v{at} {known[column]}" for at, column in enumerate(columns))
    return Staged(
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({kinds})",
        f"COPY {name} FROM STDIN",
        all_at_once,
        f"TRUNCATE {name}",
    )


def _numbered(name: str, *parts: str) -> list[str]:
    """The parts with the columns of a staged row for their values, in order."""
    at, numbered = 0, []
    for part in parts:
        pieces = part.split("?")
        told = pieces[0]
        for piece in pieces[1:]:
            told += f"{name}.v{at}{piece}"
            at += 1
        numbered.append(told)
    return numbered
