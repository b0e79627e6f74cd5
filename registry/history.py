"""The registry's append-only history, and the states that follow from it.

Every registration, promotion, load, unload and change of limits or of a monitoring policy is one
row. Its row number is the registry's revision. An alias names the version of its latest promotion.
The latest load or unload of a version or of its whole model decides whether it is to be loaded.
Changes of limits and policies add up.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from eventlog.durable_files import make_folder
from registry.errors import RegistryUnavailable
from registry.history_schema import prepare
from registry.limits import LimitChange, sum_up

_PATIENCE_S = 10  # how long a call waits for another process's transaction

Kind = Literal["registered", "promoted", "loaded", "unloaded", "limits", "policy", "baseline"]


class HistoryRow(msgspec.Struct, frozen=True):
    """One change of the registry."""

    revision: int
    model: str
    kind: Kind
    number: str  # of the version; "" for every version of the model, future ones too
    time: int  # microseconds since the epoch
    actor: str
    alias: str = ""  # of a promotion
    detail: str = ""  # of changed limits, a changed policy or a baseline, as JSON

    def limits(self) -> LimitChange:
        """Decode the change that a row of kind `limits` holds."""
        return msgspec.json.decode(self.detail, type=LimitChange)


class DesiredState(msgspec.Struct, frozen=True):
    """What is to be served of one model, and with which limits."""

    aliases: dict[str, str]  # alias -> version number
    unloaded: set[str]  # numbers of the versions that are not to be loaded
    limits: dict[str, LimitChange]  # number -> sum of its changes, where there are any


class History:
    """The history in one SQLite file; safe across threads and processes.

    Each call opens a connection of its own, since calls are rare. The journal mode is SQLite's
    default: in WAL mode, releases before 3.51.3 can corrupt a file that several connections write.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, create or migrate it; raises IncompatibleRegistry for a newer one.

        A file that cannot be read now is tried again by the next call, which then raises
        RegistryUnavailable, as every other method does.
        """
        self._path = path
        self._prepared = False
        with suppress(RegistryUnavailable), self._connect():
            pass

    def revision(self) -> int:
        """Return the number of the latest row, 0 before the first."""
        with self._connect() as connection:
            row = connection.execute("SELECT max(revision) FROM history").fetchone()
        return int(row[0] or 0)

    def changed(self, since: int) -> set[str]:
        """Return the models that have rows after this revision."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT DISTINCT model FROM history WHERE revision > ?", (since,)
            ).fetchall()
        return {model for (model,) in rows}

    def desired_state(self, model: str, numbers: Collection[str]) -> DesiredState:
        """Return the state of a model that has these versions, read in one transaction."""
        with self._connect() as connection:
            connection.execute("BEGIN")
            return DesiredState(
                _aliases(connection, model),
                _unloaded(connection, model, numbers),
                _limits(connection, model, numbers),
            )

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version number that each alias of a model names."""
        with self._connect() as connection:
            return _aliases(connection, model)

    def numbers(self, model: str) -> set[str]:
        """Return every version number that was ever registered, deleted versions included."""
        with self._connect() as connection:
            return _numbers(connection, model)

    def models(self) -> set[str]:
        """Return every model of which a version was ever registered."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT DISTINCT model FROM history WHERE kind = 'registered'"
            ).fetchall()
        return {model for (model,) in rows}

    def rows(self, model: str) -> list[HistoryRow]:
        """Return every row of one model, oldest first."""
        with self._connect() as connection:
            rows = connection.execute(
                "SELECT revision, model, kind, number, time, actor, alias, detail FROM history "
                "WHERE model = ? ORDER BY revision",
                (model,),
            ).fetchall()
        return [HistoryRow(*row) for row in rows]

    def register(self, model: str, number: str, *, time: int, actor: str) -> None:
        """Record that a version was registered; a second record of it is not made."""
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if number not in _numbers(connection, model):
                _append(connection, HistoryRow(0, model, "registered", number, time, actor))

    def promote(self, model: str, alias: str, number: str, *, time: int, actor: str) -> int:
        """Point the alias at the version and return the new revision.

        If the alias names the version already, no row is made and the revision stays.
        """
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if _aliases(connection, model).get(alias) != number:
                row = HistoryRow(0, model, "promoted", number, time, actor, alias)
                return _append(connection, row)
        return self.revision()

    def load(self, model: str, number: str, *, time: int, actor: str) -> int:
        """Record that a version, or with "" every version, is to be loaded; return the revision."""
        return self._append(HistoryRow(0, model, "loaded", number, time, actor))

    def unload(self, model: str, number: str, *, time: int, actor: str) -> int:
        """Record that a version, or with "" every version, is not to be loaded."""
        return self._append(HistoryRow(0, model, "unloaded", number, time, actor))

    def change_limits(
        self, model: str, number: str, change: LimitChange, *, time: int, actor: str
    ) -> int:
        """Record other limits for a version, or with "" for every version, future ones too.

        A change without fields revokes all earlier ones.
        """
        detail = msgspec.json.encode(change).decode()
        return self._append(HistoryRow(0, model, "limits", number, time, actor, detail=detail))

    def change_policy(self, model: str, number: str, detail: str, *, time: int, actor: str) -> int:
        """Record another policy for a version, or with "" for every version, future ones too.

        `policies.py` encodes `detail` and adds changes up.
        """
        return self._append(HistoryRow(0, model, "policy", number, time, actor, detail=detail))

    def record_baseline(
        self, model: str, number: str, detail: str, *, time: int, actor: str
    ) -> int:
        """Record a baseline of a version; a second record of the same is not made.

        `baselines.py` encodes `detail`. Returns the revision.
        """
        row = HistoryRow(0, model, "baseline", number, time, actor, detail=detail)
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(
                "SELECT detail FROM history WHERE model = ? AND number = ? AND kind = 'baseline' "
                "ORDER BY revision",
                (model, number),
            ).fetchall()
            learned = '"origin":"learned"' in detail
            if (detail,) not in found if learned else (detail,) not in found[-1:]:
                return _append(connection, row)
        return self.revision()

    def _append(self, row: HistoryRow) -> int:
        with self._connect() as connection:
            return _append(connection, row)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """Open a connection and commit; raises RegistryUnavailable."""
        try:
            make_folder(self._path.parent)
            connection = sqlite3.connect(self._path, timeout=_PATIENCE_S)
            try:
                # Also flush the end of the journal: a commit must not be undone by a power loss.
                connection.execute("PRAGMA synchronous = EXTRA")
                if not self._prepared:
                    with connection:
                        prepare(connection, self._path)
                    self._prepared = True
                with connection:
                    yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise RegistryUnavailable(f"registry {self._path}: {_explain(error)}") from error
        except OSError as error:
            raise RegistryUnavailable(f"registry {self._path}: {error.strerror}") from error


def _explain(error: sqlite3.Error) -> str:
    """Return what is wrong with the file and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extension
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"locked by another process for {_PATIENCE_S} seconds; try again when it has ended"
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return f"{error}; restore it from a backup"
    if code == sqlite3.SQLITE_FULL:
        return f"{error}; free some space and try again"
    return f"{error}; expected a file that this user can read and write"


def _append(connection: sqlite3.Connection, row: HistoryRow) -> int:
    """Insert the row under the next revision, and return that."""
    cursor = connection.execute(
        "INSERT INTO history (model, kind, alias, number, time, actor, detail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.model, row.kind, row.alias, row.number, row.time, row.actor, row.detail),
    )
    return int(cursor.lastrowid or 0)


def _aliases(connection: sqlite3.Connection, model: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT alias, number, max(revision) FROM history "
        "WHERE model = ? AND kind = 'promoted' GROUP BY alias ORDER BY alias",
        (model,),
    )
    return {alias: number for alias, number, _ in rows}


def _numbers(connection: sqlite3.Connection, model: str) -> set[str]:
    rows = connection.execute(
        "SELECT number FROM history WHERE model = ? AND kind = 'registered'", (model,)
    )
    return {number for (number,) in rows}


def _unloaded(connection: sqlite3.Connection, model: str, numbers: Collection[str]) -> set[str]:
    """Return the versions whose latest row, their own or their model's, is an unload."""
    rows = connection.execute(
        "SELECT number, max(revision), kind FROM history "
        "WHERE model = ? AND kind IN ('loaded', 'unloaded') GROUP BY number",
        (model,),
    )
    latest = {number: (revision, kind) for number, revision, kind in rows}
    default = (0, "loaded")
    whole_model = latest.get("", default)
    return {n for n in numbers if max(whole_model, latest.get(n, default))[1] == "unloaded"}


def _limits(
    connection: sqlite3.Connection, model: str, numbers: Collection[str]
) -> dict[str, LimitChange]:
    """Add up the changes of each version and those of every version."""
    rows = connection.execute(
        "SELECT number, detail FROM history WHERE model = ? AND kind = 'limits' ORDER BY revision",
        (model,),
    )
    changes = [(number, msgspec.json.decode(detail, type=LimitChange)) for number, detail in rows]
    sums = {n: sum_up(change for of, change in changes if of in {"", n}) for n in numbers}
    return {number: change for number, change in sums.items() if change.stated()}
