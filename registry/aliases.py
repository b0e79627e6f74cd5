"""Which version an alias names, and how it came to: an append-only history in SQLite.

Every registration, every move of an alias, every load and unload and every change of limits or of
a monitoring policy is one row; its row number is the registry's revision. The latest move of an
alias is where it points, the latest load or unload of a version or of its whole model is what holds
for it, and changes of limits and policies add up.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from registry.limits import LimitChange, sum_up

# No alias: these stand in its place in a row that tells of something else.
_REGISTERED = ""
_LOADED = "+"  # a row without a number speaks of every version of the model, future ones too
_UNLOADED = "-"
LIMITED = "="
POLICY = "~"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS moves (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    number TEXT NOT NULL,
    moved INTEGER NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS moves_by_alias ON moves (model, alias, revision);
CREATE TRIGGER IF NOT EXISTS moves_are_kept BEFORE DELETE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
CREATE TRIGGER IF NOT EXISTS moves_are_final BEFORE UPDATE ON moves
    BEGIN SELECT RAISE(ABORT, 'the history of moves is append-only'); END;
"""


class Move(msgspec.Struct, frozen=True):
    """One change of the registry: an alias moved, or by the alias of the row a version was
    registered (empty), loaded ("+"), unloaded ("-"), given other limits ("=") or another policy of
    monitoring ("~").
    """

    revision: int
    model: str
    alias: str
    number: str
    moved: int  # microseconds since the epoch
    actor: str
    detail: str = ""  # the changed limits, or the changed policy, as JSON

    def tells_registered(self, number: str) -> bool:
        """Whether with this row the version of that number was registered."""
        return self.alias == _REGISTERED and self.number == number

    def limits(self) -> LimitChange:
        """What a row of LIMITED changes."""
        return msgspec.json.decode(self.detail, type=LimitChange)


class Standing(msgspec.Struct, frozen=True):
    """What holds for one model."""

    aliases: dict[str, str]  # alias -> version number
    unloaded: set[str]  # numbers of the versions that shall not be loaded
    limits: dict[str, LimitChange]  # number -> what changes come to, where there are any


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
            _add_detail(connection)

    def revision(self) -> int:
        """The number of the latest change, 0 before the first."""
        with self._connected() as connection:
            row = connection.execute("SELECT max(revision) FROM moves").fetchone()
        return int(row[0] or 0)

    def changed(self, since: int) -> set[str]:
        """The models of which anything changed after this revision."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT DISTINCT model FROM moves WHERE revision > ?", (since,)
            ).fetchall()
        return {model for (model,) in rows}

    def standing(self, model: str, numbers: Collection[str]) -> Standing:
        """What holds for a model that has these versions; one look at the file."""
        with self._connected() as connection:
            return Standing(
                _aliases(connection, model),
                _unloaded(connection, model, numbers),
                _limits(connection, model, numbers),
            )

    def current(self, model: str) -> dict[str, str]:
        """Alias -> version number, as of the latest move of each."""
        with self._connected() as connection:
            return _aliases(connection, model)

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

    def limit(self, model: str, number: str, change: LimitChange, *, moved: int, actor: str) -> int:
        """Record other limits for the version, or with "" for every version, future ones too.

        A change that states nothing takes back those before it.
        """
        detail = msgspec.json.encode(change).decode()
        return self._append(model, LIMITED, number, moved, actor, detail=detail)

    def change_policy(self, model: str, number: str, detail: str, *, moved: int, actor: str) -> int:
        """Record another policy for the version, or with "" for every version, future ones too.

        What `detail` says, and what changes come to, is for `policies.py` to know.
        """
        return self._append(model, POLICY, number, moved, actor, detail=detail)

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
                "SELECT revision, model, alias, number, moved, actor, detail FROM moves "
                "WHERE model = ? ORDER BY revision",
                (model,),
            ).fetchall()
        return [Move(*row) for row in rows]

    def _append(  # noqa: PLR0913  # the columns of a row
        self, model: str, alias: str, number: str, moved: int, actor: str, *, detail: str = ""
    ) -> int:
        with self._connected() as connection:
            cursor = connection.execute(
                "INSERT INTO moves (model, alias, number, moved, actor, detail) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (model, alias, number, moved, actor, detail),
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


def _add_detail(connection: sqlite3.Connection) -> None:
    """Bring a file up to date that was made before limits could be changed."""
    if _has_detail(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not _has_detail(connection):  # nobody else was faster
        connection.execute("ALTER TABLE moves ADD COLUMN detail TEXT NOT NULL DEFAULT ''")


def _has_detail(connection: sqlite3.Connection) -> bool:
    return "detail" in {name for _, name, *_ in connection.execute("PRAGMA table_info(moves)")}


def _aliases(connection: sqlite3.Connection, model: str) -> dict[str, str]:
    """As of the latest move of each."""
    rows = connection.execute(
        "SELECT alias, number, max(revision) FROM moves "
        "WHERE model = ? AND alias NOT IN (?, ?, ?, ?, ?) GROUP BY alias ORDER BY alias",
        (model, _REGISTERED, _LOADED, _UNLOADED, LIMITED, POLICY),
    )
    return {alias: number for alias, number, _ in rows}


def _unloaded(connection: sqlite3.Connection, model: str, numbers: Collection[str]) -> set[str]:
    """Those last told so."""
    rows = connection.execute(
        "SELECT number, max(revision), alias FROM moves "
        "WHERE model = ? AND alias IN (?, ?) GROUP BY number",
        (model, _LOADED, _UNLOADED),
    )
    told = {number: (revision, alias) for number, revision, alias in rows}
    never = (0, _LOADED)
    whole = told.get("", never)
    return {n for n in numbers if max(whole, told.get(n, never))[1] == _UNLOADED}


def _limits(
    connection: sqlite3.Connection, model: str, numbers: Collection[str]
) -> dict[str, LimitChange]:
    """The sum of the changes of each, and of those that speak of every version."""
    rows = connection.execute(
        "SELECT number, detail FROM moves WHERE model = ? AND alias = ? ORDER BY revision",
        (model, LIMITED),
    )
    changes = [(number, msgspec.json.decode(detail, type=LimitChange)) for number, detail in rows]
    sums = {n: sum_up(change for of, change in changes if of in {"", n}) for n in numbers}
    return {number: change for number, change in sums.items() if change.stated()}
