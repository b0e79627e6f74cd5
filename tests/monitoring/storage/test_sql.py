"""Compiled SQL statements: current, accepted by PostgreSQL, and called with all their values."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from monitoring import storage
from monitoring.storage import sql, sql_writer
from monitoring.storage.query import Lookup, Query, RowQuery
from monitoring.storage.store import Store
from tests.postgres_server import PostgresServer
from tests.prepared_statements import refused

Statement = Lookup | Query | RowQuery
ONE_AT_A_TIME = {"dead_letters.ADD"}  # numbers its row after the last, so it runs for single rows


def test_compiled_statements_are_current() -> None:
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


def _calls() -> Iterator[tuple[str, Statement, set[str], bool]]:
    """Yield each database call: place, statement, named values, and whether all are named."""
    for path in sorted(Path(storage.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text())
        modules = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == sql.__name__
            for alias in node.names
        }
        for call in ast.walk(tree):
            match call:
                case ast.Call(
                    func=ast.Attribute(attr="all" | "one" | "do" | "_all"),
                    args=[ast.Attribute(value=ast.Name(id=module), attr=name)],
                    keywords=keywords,
                ) if module in modules:
                    statement = getattr(
                        importlib.import_module(f"{sql.__name__}.{modules[module]}"), name
                    )
                    names = {keyword.arg for keyword in keywords if keyword.arg}
                    complete = all(keyword.arg for keyword in keywords)
                    yield f"{path.name}:{call.lineno}", statement, names, complete


def test_every_call_passes_the_values_of_its_statement() -> None:
    calls = list(_calls())
    assert len(calls) > 70
    wrong = {}
    for place, statement, names, complete in calls:
        if isinstance(statement, Query):
            expected = set(statement.sqlite.names) - set(statement.sqlite.constants)
            if names - expected or (complete and names != expected):
                wrong[place] = (names, expected)
    assert not wrong


def test_statement_that_postgresql_refuses_is_reported(postgres: PostgresServer) -> None:
    complaints = refused(postgres.schema(), {"A": "SELECT %s::BIGINT", "B": "SELECT x FROM alarms"})
    assert list(complaints) == ["B"]
