"""The compiled statements are those that `queries` defines, and PostgreSQL accepts each of them."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from monitoring.storage import sql, sql_writer
from monitoring.storage.query import Lookup, Query, RowQuery
from monitoring.storage.store import Store
from tests.postgres_server import PostgresServer
from tests.prepared_statements import refused

Statement = Lookup | Query | RowQuery
ONE_AT_A_TIME = {"dead_letters.ADD"}  # it numbers its row after the last one: never many at once


def test_the_compiled_statements_are_current() -> None:
    folder = Path(sql.__file__).parent
    stored = {path.name: path.read_text() for path in folder.glob("*.py")}
    assert stored == sql_writer.generate(), "run python -m monitoring.storage.sql_writer"


def _statements() -> Iterator[tuple[str, Statement]]:
    for module in pkgutil.iter_modules(sql.__path__):
        for name, value in vars(importlib.import_module(f"{sql.__name__}.{module.name}")).items():
            if isinstance(value, Statement):
                yield f"{module.name}.{name}", value


def test_postgresql_accepts_every_statement(postgres: PostgresServer) -> None:
    url = postgres.schema()
    Store(url).close()
    texts, tables = {}, []
    for name, statement in _statements():
        compiled = statement.postgresql
        texts[name] = compiled if isinstance(compiled, str) else compiled.sql
        if isinstance(statement, RowQuery) and name not in ONE_AT_A_TIME:
            tables.append(statement.staged.create)
            texts[f"{name}, staged"] = statement.staged.run.sql
            texts[f"{name}, copied"] = statement.staged.copy
            texts[f"{name}, emptied"] = statement.staged.empty
    assert len(texts) > 150
    assert refused(url, texts, tables) == {}


def test_a_statement_that_postgresql_does_not_accept_is_found(postgres: PostgresServer) -> None:
    complaints = refused(postgres.schema(), {"A": "SELECT %s::BIGINT", "B": "SELECT x FROM alarms"})
    assert list(complaints) == ["B"]
