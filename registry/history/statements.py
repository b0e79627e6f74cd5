"""Statements of the history, built from its table, and their SQL for each database.

Most commands and every worker read the registry, and importing SQLAlchemy would take longer than
the rest of most commands. `sql.py` therefore contains the compiled SQL. `python -m
registry.history.statements` writes this file, and a test compares it.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Executable,
    Text,
    bindparam,
    cast,
    delete,
    extract,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from registry.history.migrations import migrate_file
from registry.history.schema import REVISION, VERSION_TABLE, history, workers

_c = history.c
_row = select(*history.c)
_model: BindParameter[str] = bindparam("of_model")
_after: BindParameter[int] = bindparam("after")
_until: BindParameter[int] = bindparam("until")
_newest = select(func.max(_c.revision)).scalar_subquery()
_now = cast(extract("epoch", func.now()), BigInteger)
_age: BindParameter[int] = bindparam("age")
_worker: BindParameter[str] = bindparam("of_worker")

STATEMENTS: dict[str, Executable] = {
    "REVISION": select(func.max(_c.revision)),
    "HEAD": select(_c.revision, _c.chain).where(_c.revision == _newest),
    "CHANGED": select(_c.model).where(_c.revision > _after).distinct(),
    "MODELS": select(_c.model).where(_c.kind == bindparam("of_kind")).distinct(),
    "OF_MODEL": _row.where(_c.model == _model).order_by(_c.revision),
    "OF_KIND": _row.where(_c.kind == bindparam("of_kind")).order_by(_c.model, _c.revision),
    "AFTER": _row.where(_c.revision > _after, _c.revision <= _until).order_by(_c.revision),
    "INSERT": insert(history).values(
        {column.name: bindparam(f"n_{column.name}") for column in history.c}
    ),
    "WORKERS": select(workers.c.body).where(workers.c.seen >= _now - _age),
    "REMOVE_WORKER": delete(workers).where(workers.c.worker == _worker),
    "EXPIRE_WORKERS": delete(workers).where(workers.c.seen < _now - _age),
    "ADD_WORKER": insert(workers).values(
        worker=_worker, seen=_now, body=bindparam("n_body", type_=Text)
    ),
}
_HEADER = '''"""SQL of the history, by database; written by registry.history.statements."""

# fmt: off
# ruff: noqa: E501
'''


def generate() -> str:
    """Return the text of `sql.py`."""
    dialects = {
        "SQLITE": SQLiteDialect_pysqlite(paramstyle="named"),
        "POSTGRESQL": PGDialect_psycopg(paramstyle="pyformat"),  # type: ignore[no-untyped-call]
    }
    parts = [_HEADER, f"VERSION_TABLE = {VERSION_TABLE!r}", f"REVISION = {REVISION!r}"]
    parts += ["TABLES = (", *(f"    {statement!r}," for statement in new_file(_migrate)), ")"]
    for name, dialect in dialects.items():
        parts.append(f"{name} = {{")
        for key, statement in STATEMENTS.items():
            text = " ".join(str(statement.compile(dialect=dialect)).split())  # type: ignore[attr-defined]
            parts.append(f"    {key!r}: {text!r},")
        parts.append("}")
    return "\n".join(parts) + "\n"


def new_file(migrate: Callable[[Callable[[], sqlite3.Connection]], None]) -> list[str]:
    """Return the statements that create the same database file as `migrate`."""
    with TemporaryDirectory() as folder:
        connect = partial(sqlite3.connect, Path(folder) / "new.db", isolation_level=None)
        migrate(connect)
        with closing(connect()) as migrated:
            lines = [" ".join(line.split()) for line in migrated.iterdump()][1:-1]
    # SQLAlchemy creates the indexes of a table in no fixed order.
    indexes = sorted(line for line in lines if line.startswith("CREATE INDEX"))
    return [line for line in lines if not line.startswith("CREATE INDEX")] + indexes


def _migrate(connect: Callable[[], sqlite3.Connection]) -> None:
    migrate_file(connect, "SELECT 1")


if __name__ == "__main__":
    Path(__file__).with_name("sql.py").write_text(generate())
