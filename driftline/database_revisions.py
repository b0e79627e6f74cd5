"""Read the schema revision of a database, without migrating it."""

import sqlite3
from contextlib import closing
from pathlib import Path

CONNECT_S = 5.0


def read_revision(place: Path | str, table: str) -> str:
    """Return the revision of a SQLite file or a PostgreSQL database, or "" if it has no revision.

    Raises sqlite3.Error and psycopg.Error.
    """
    query = f"SELECT version_num FROM {table}"  # noqa: S608 - a constant
    if isinstance(place, Path):
        with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as file:
            tables = file.execute("SELECT name FROM sqlite_master WHERE name = ?", (table,))
            row = file.execute(query).fetchone() if tables.fetchone() else None
        return row[0] if row else ""
    import psycopg  # noqa: PLC0415 - only for servers

    with psycopg.connect(place, connect_timeout=round(CONNECT_S)) as server:
        if server.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
            return ""
        stored_row = server.execute(query.encode()).fetchone()
    return str(stored_row[0]) if stored_row else ""
