"""SQLite as the monitor's database: one file, the default."""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

_TOGETHER = 500  # names in one question
_CACHE = 32_768  # KiB of pages at most; labels of a day ask for rows all over the file
_PATIENCE = 10.0  # seconds to wait for another connection's transaction


class Sqlite:
    """A `Driver` (see database.py) on one connection to a file.

    The journal is SQLite's default, not the write-ahead log: with a second connection, releases
    before 3.51.3 can lose the latter's reset, and Python often carries an older one.
    """

    def __init__(self, path: Path, *, lasting: bool = True) -> None:
        """Open the file, empty if it is not there yet.

        One that is not `lasting` is worth nothing if the machine or the process ends over it:
        nothing waits for the disk.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        if not lasting:
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("PRAGMA journal_mode = MEMORY")

    def columns(self) -> set[tuple[str, str]]:
        """What is there, by table and column."""
        return set(
            self._connection.execute(
                "SELECT made.name, part.name "
                "FROM sqlite_master AS made, pragma_table_info(made.name) AS part"
            )
        )

    def define(self, statement: str) -> None:
        """Run a statement that makes or changes a table or an index."""
        self._connection.execute(statement)

    def begin(self, *, alone: bool) -> None:  # noqa: ARG002 - here it always is
        """Begin a transaction, after everybody else's that writes."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep what the transaction did."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Undo what the transaction did."""
        self._connection.execute("ROLLBACK")

    def execute(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, values)

    def among(self, statement: str, names: Sequence[str]) -> list[tuple[object, ...]]:
        """Every row of a query that asks with `IN (...)` for some of many names."""
        found: list[tuple[object, ...]] = []
        query = statement.replace("(...)", f"({', '.join('?' * _TOGETHER)})")
        for begin in range(0, len(names), _TOGETHER):
            asked = list(names[begin : begin + _TOGETHER])
            # Always as many, so that the statement is prepared once; one twice asks for nothing.
            found += self.execute(query, [*asked, *asked[:1] * (_TOGETHER - len(asked))])
        return found

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once per row."""
        self._connection.executemany(statement, rows)

    def try_lock(self, name: str) -> bool:  # noqa: ARG002 - there is nobody else
        """Granted: a file has one monitor."""
        return True

    def unlock(self, name: str) -> None:
        """Give a lock back."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
