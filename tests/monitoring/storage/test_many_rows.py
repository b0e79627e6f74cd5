"""Many rows at once come to what one after the other comes to, in either database."""

import ast
from contextlib import suppress
from pathlib import Path

import monitoring.storage
from monitoring.storage.database import Database, Where
from monitoring.storage.staging import stage
from tests.postgres_server import PostgresServer

STRANGE = ["", "\\N", "a\tb\nc\\", "'\"{},", "\x00", "ü☃", "NULL"]
INSERT = (
    "INSERT INTO predictions (prediction_id, row, model, version, start, hash, body, label, time) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prediction_id, row) "
    "DO UPDATE SET time = excluded.time"
)
NAMED = "INSERT INTO early_labels (prediction_id, row, label) VALUES (?, ?, ?)"
UPDATE = "UPDATE predictions SET label = ? WHERE prediction_id = ? AND row = ?"
EVICT = "UPDATE predictions SET body = NULL WHERE hash = ? AND body IS NOT NULL"
DELETE = "DELETE FROM early_labels WHERE row = ? AND prediction_id < ?"


def _row(n: int, time: int | None) -> tuple[object, ...]:
    text = STRANGE[n % len(STRANGE)]
    body = None if n % 3 else text.encode() + b"\x00\xff\\"
    return f"p{n}{text}", n % 2, "m", text, n, -(2**62) + n, body, None, time


def _written(where: Where, together: int) -> list[list[tuple[object, ...]]]:
    """The tables after the same statements, run for so many rows at once."""
    database = Database(where)
    names = [str(_row(n, 0)[0]) for n in range(200)]
    steps: list[tuple[str, list[tuple[object, ...]]]] = [
        (INSERT, [_row(n, n) for n in range(200)]),
        (INSERT, [_row(n, None) for n in range(0, 200, 2)]),
        (NAMED, [(name, n, b"1") for n, name in enumerate(names)]),
        (UPDATE, [(f"{n}".encode(), name, n % 2) for n, name in enumerate(names)]),
        (EVICT, [(-(2**62) + n,) for n in range(0, 200, 4)]),
        (DELETE, [(n, "p5") for n in range(100)]),
    ]
    for statement, rows in steps:
        for begin in range(0, len(rows), together):
            with database.transaction():
                database.many(statement, rows[begin : begin + together])
    tables = ("predictions", "early_labels")
    found = [sorted(database.all(f"SELECT * FROM {name}"), key=repr) for name in tables]
    assert len(database.among("SELECT row FROM predictions WHERE prediction_id IN (...)", [])) == 0
    asked = database.among("SELECT row FROM predictions WHERE prediction_id IN (...)", names)
    assert len(asked) == 200
    database.close()
    return found


def test_many_rows_at_once_are_as_one_after_the_other(where: Where, tmp_path: Path) -> None:
    found = _written(where, together=200)
    one_by_one = _written(tmp_path / "one.db", together=1)
    if isinstance(where, Path):
        assert found == one_by_one
        return
    shown = [[_shown(row) for row in table] for table in one_by_one]
    assert [sorted(table, key=repr) for table in found] == [sorted(t, key=repr) for t in shown]


def _shown(row: tuple[object, ...]) -> tuple[object, ...]:
    """As PostgreSQL keeps it."""
    return tuple(one.replace("\x00", "␀") if isinstance(one, str) else one for one in row)


def test_what_a_transaction_that_failed_had_begun_is_begun_again(postgres: PostgresServer) -> None:
    database = Database(postgres.schema())
    rows = [_row(n, n) for n in range(100)]
    with suppress(KeyboardInterrupt), database.transaction():
        database.many(INSERT, rows)
        raise KeyboardInterrupt
    assert database.all("SELECT count(*) FROM predictions") == [(0,)]
    for _ in range(2):
        with database.transaction():
            database.many(INSERT, rows)
    assert database.all("SELECT count(*) FROM predictions") == [(100,)]
    database.close()


def test_every_statement_of_the_monitor_for_many_rows_can_be_run_at_once(
    postgres: PostgresServer,
) -> None:
    database = Database(postgres.schema())
    known = _statements()
    assert len(known) > 8
    for statement in known:
        assert stage(statement, database._driver._types) is not None, statement  # type: ignore[attr-defined]
    database.close()


def _statements() -> list[str]:
    """What the modules of monitoring/storage pass to `Database.many`, where it is written there."""
    found = []
    for path in Path(monitoring.storage.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                first = node.args[0] if node.func.attr == "many" and node.args else None
                if isinstance(first, ast.Constant):
                    found.append(str(first.value))
    return found
