"""Which version an alias names, and how it came to: an append-only history in SQLite.

Every registration, every move of an alias and every load and unload is one row; its row number is
the registry's revision. The latest move of an alias is where it points, the latest load or unload
of a version or of its whole model is what holds for it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

# No alias: these stand in its place in a row that tells of something else.
_REGISTERED = ""
_LOADED = "+"  # a row without a number speaks of every version of the model, future ones too
_UNLOADED = "-"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS moves (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number TEXT NOT NULL,
    moved INTEGER NOT NULL,
    actor TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS moves_by_alias ON moves (model, alias, revision);
CREATE TRIGGER IF NOT EXISTS moves_are_kept BEFORE DELETE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
CREATE TRIGGER IF NOT EXISTS moves_are_final BEFORE UPDATE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
"""


class Move(msgspec.Struct, frozen=True):
    """One change of the registry: an alias moved, or by the alias of the row a version was
    registered (empty), loaded ("+") or unloaded ("-").
    """

    revision: int
    model: str
    alias: str
    number: str
    moved: int  # microseconds since the epoch
    actor: str


class Aliases:
    """The history in one SQLite file; safe across threads and processes.

    Each call opens a connection of its own: calls are rare. The journal is SQLite's default one:
    in WAL mode, releases before 3.51.3 can corrupt a file that several connections write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

    def revision(self) -> int:
        """The number of the latest change, 0 before the first."""
        with self._connected() as connection:
            row = connection.execute("SELECT max(revision) FROM moves").fetchone()
        return int(row[0] or 0)

    def current(self, model: str) -> dict[str, str]:
        """Alias -> version number, as of the latest move of each."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT alias, number, max(revision) FROM moves "
                "WHERE model = ? AND alias NOT IN (?, ?, ?) GROUP BY alias ORDER BY alias",
                (model, _REGISTERED, _LOADED, _UNLOADED),
            ).fetchall()
        return {alias: number for alias, number, _ in rows}

    def move(self, model: str, alias: str, number: str, *, moved: int, actor: str) -> int:
        """Point the alias at the version and return the new revision.

        Where it points there already nothing moves, and the revision stays.
        """
        if self.current(model).get(alias) == number:
            return self.revision()
        return self._append(model, alias, number, moved, actor)

    def load(self, model: str, number: str, *, moved: int, actor: str) -> int:
        """Record that the version, or with "" every version, shall be loaded."""
        return self._append(model, _LOADED, number, moved, actor)

    def unload(self, model: str, number: str, *, moved: int, actor: str) -> int:
        """Record that the version, or with "" every version, shall not be loaded."""
        return self._append(model, _UNLOADED, number, moved, actor)

    def unloaded(self, model: str, numbers: Iterable[str]) -> set[str]:
        """Which of these versions shall not be loaded: those last told so."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number, max(revision), alias FROM moves "
                "WHERE model = ? AND alias IN (?, ?) GROUP BY number",
                (model, _LOADED, _UNLOADED),
            ).fetchall()
        told = {number: (revision, alias) for number, revision, alias in rows}
        never = (0, _LOADED)
        whole = told.get("", never)
        return {n for n in numbers if max(whole, told.get(n, never))[1] == _UNLOADED}

    def registered(self, model: str, number: str, *, moved: int, actor: str) -> None:
        """Record that a version was registered, once."""
        if number not in self.numbers(model):
            self._append(model, _REGISTERED, number, moved, actor)

    def numbers(self, model: str) -> set[str]:
        """Every version number that was ever registered, deleted ones included."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number FROM moves WHERE model = ? AND alias = ?", (model, _REGISTERED)
            ).fetchall()
        return {number for (number,) in rows}

    def history(self, model: str) -> list[Move]:
        """Every change of one model, oldest first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT revision, model, alias, number, moved, actor FROM moves "
                "WHERE model = ? ORDER BY revision",
                (model,),
            ).fetchall()
        return [Move(*row) for row in rows]

    def _append(self, model: str, alias: str, number: str, moved: int, actor: str) -> int:
        with self._connected() as connection:
            cursor = connection.execute(
                "INSERT INTO moves (model, alias, number, moved, actor) VALUES (?, ?, ?, ?, ?)",
                (model, alias, number, moved, actor),
            )
        return int(cursor.lastrowid or 0)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=10)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
