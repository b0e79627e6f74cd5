"""Statements run for many rows at once equal statements run row by row, in both databases."""

from contextlib import suppress
from pathlib import Path

from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.query import RowQuery
from monitoring.storage.schema import early_labels, predictions
from monitoring.storage.sql import predictions as queries
from monitoring.storage.statements import RowInsert, compile_rows
from tests.postgres_server import PostgresServer

STRANGE = ["", "\\N", "a\tb\nc\\", "'\"{},", "\x00", "ü☃", "NULL"]
REPLACE = compile_rows(RowInsert(predictions, replace=["time"], add=["hash"]), "replaced")
NAMED = compile_rows(RowInsert(early_labels, "prediction_id", "row", "label"), "named")


def _row(n: int, time: int | None) -> tuple[object, ...]:
    text = STRANGE[n % len(STRANGE)]
    body = None if n % 3 else text.encode() + b"\x00\xff\\"
    return f"p{n}{text}", n % 2, "m", text, n, n - 2**61, body, None, time, b"%s"


def _tables_after(where: DatabaseAddress, together: int) -> list[list[tuple[object, ...]]]:
    """Return the tables after fixed statements, run for so many rows at once."""
    database = Database(where)
    names = [str(_row(n, 0)[0]) for n in range(200)]
    steps: list[tuple[RowQuery, list[tuple[object, ...]]]] = [
        (queries.ADD, [_row(n, n) for n in range(200)]),
        (queries.ADD, [_row(n, 7) for n in range(100)]),
        (REPLACE, [_row(n, None) for n in range(0, 200, 2)]),
        (NAMED, [(name, n, b"1") for n, name in enumerate(names)]),
        (queries.LABEL, [(f"{n}".encode(), name, n % 2) for n, name in enumerate(names)]),
        (queries.EVICT, [("m", STRANGE[n % 7], n, n - 2**61) for n in range(1, 200, 2)]),
        (queries.DELETE_EARLY, [(name, 0) for name in names[:120]]),
    ]
    for statement, rows in steps:
        for begin in range(0, len(rows), together):
            with database.transaction():
                database.many(statement, rows[begin : begin + together])
    tables = ("predictions", "early_labels")
    contents = [sorted(database.all(f"SELECT * FROM {name}"), key=repr) for name in tables]
    assert database.look_up(queries.OF_ID, []) == []
    assert len(database.look_up(queries.OF_ID, names)) == 200
    database.close()
    return contents


def test_batched_statements_equal_single_statements(where: DatabaseAddress, tmp_path: Path) -> None:
    batched = _tables_after(where, together=200)
    single = _tables_after(tmp_path / "one.db", together=1)
    if isinstance(where, Path):
        assert batched == single
        return
    shown = [[_shown(row) for row in table] for table in single]
    assert [sorted(table, key=repr) for table in batched] == [sorted(t, key=repr) for t in shown]


def _shown(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return the row as PostgreSQL stores it."""
    return tuple(value.replace("\x00", "␀") if isinstance(value, str) else value for value in row)


def test_small_batches_equal_large_batches(postgres: PostgresServer) -> None:
    assert _tables_after(postgres.schema(), together=3) == _tables_after(
        postgres.schema(), together=200
    )


def test_batch_works_again_after_its_transaction_failed(postgres: PostgresServer) -> None:
    database = Database(postgres.schema())
    rows = [_row(n, n) for n in range(100)]
    with suppress(KeyboardInterrupt), database.transaction():
        database.many(queries.ADD, rows)
        raise KeyboardInterrupt
    assert database.all("SELECT count(*) FROM predictions") == [(0,)]
    for _ in range(2):
        with database.transaction():
            database.many(queries.ADD, rows)
    assert database.all("SELECT count(*) FROM predictions") == [(100,)]
    database.close()
