"""Schema of the registry's history in SQLite, and the migration of files of earlier releases.

`PRAGMA user_version` holds the schema version. A file is migrated in one transaction when it is
opened, so that of several processes that open it at once one migrates and the others find it done.
"""

import sqlite3
from pathlib import Path

from registry.errors import IncompatibleRegistry

VERSION = 1

_HISTORY = (
    """
    CREATE TABLE history (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        kind TEXT NOT NULL,
        alias TEXT NOT NULL DEFAULT '',
        number TEXT NOT NULL DEFAULT '',
        time INTEGER NOT NULL,
        actor TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX history_by_model ON history (model, kind, revision)",
    """
    CREATE TRIGGER history_rows_are_not_deleted BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END
    """,
    """
    CREATE TRIGGER history_rows_are_not_updated BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the registry history is append-only'); END
    """,
)

# Up to 0.2.0 the table was `moves`, and a mark in the alias column stood for the kind of a row.
_COPY_MOVES = """
    INSERT INTO history (revision, model, kind, alias, number, time, actor, detail)
    SELECT
        revision,
        model,
        CASE alias
            WHEN '' THEN 'registered'
            WHEN '+' THEN 'loaded'
            WHEN '-' THEN 'unloaded'
            WHEN '=' THEN 'limits'
            WHEN '~' THEN 'policy'
            ELSE 'promoted'
        END,
        CASE WHEN alias IN ('+', '-', '=', '~') THEN '' ELSE alias END,
        number,
        moved,
        actor,
        {detail}
    FROM moves ORDER BY revision
"""

# A release that knows only `moves` cannot index a view: it stops with an error when it opens the
# file, where a missing table would look like an empty registry. Its running processes still read.
_MOVES_VIEW = """
    CREATE VIEW moves AS
    SELECT
        revision,
        model,
        CASE kind
            WHEN 'loaded' THEN '+'
            WHEN 'unloaded' THEN '-'
            WHEN 'limits' THEN '='
            WHEN 'policy' THEN '~'
            ELSE alias
        END AS alias,
        number,
        time AS moved,
        actor,
        detail
    FROM history
"""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the schema, or migrate it from that of an earlier release.

    Raises IncompatibleRegistry for a file of a newer release, and leaves that file as it is.
    """
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection, path) < VERSION:  # no other process was faster
        _add_kinds(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise IncompatibleRegistry(
            f"registry {path}: schema version {version} is of a newer release, expected at most "
            f"{VERSION}; upgrade Driftline here, or restore the backup made before the upgrade"
        )
    return version


def _add_kinds(connection: sqlite3.Connection) -> None:
    for statement in _HISTORY:
        connection.execute(statement)
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(moves)")}
    if columns:
        detail = "detail" if "detail" in columns else "''"  # absent before limits were changeable
        connection.execute(_COPY_MOVES.format(detail=detail))
        connection.execute("DROP TABLE moves")
    connection.execute(_MOVES_VIEW)
