"""Create the history table, and compute a chain over the rows of an earlier release's file.

Up to 0.2.0, the table was `moves`, and a mark in its alias column denoted the kind of a row. It was
followed by `history` without digest, reason, evidence and chain. This file defines the table and
the columns that the chain covers as of this revision, independently of `schema`.
"""

import hashlib
from typing import Any

import msgspec
from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)

revision = "0001"
down_revision = None

_metadata = MetaData()
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")

_history = Table(
    "history",
    _metadata,
    Column("revision", _INTEGER, primary_key=True, autoincrement=False),
    *(Column(name, _TEXT, nullable=False) for name in ("model", "kind", "number")),
    Column("time", _INTEGER, nullable=False),
    *(
        Column(name, _TEXT, nullable=False)
        for name in ("actor", "alias", "detail", "digest", "why", "evidence", "chain")
    ),
)
Index("history_by_model", _history.c.model, _history.c.revision)
Index("history_by_kind", _history.c.kind, _history.c.model)

_MOVES = """
    SELECT revision, model,
        CASE alias
            WHEN '' THEN 'registered' WHEN '+' THEN 'loaded' WHEN '-' THEN 'unloaded'
            WHEN '=' THEN 'limits' WHEN '~' THEN 'policy' ELSE 'promoted'
        END AS kind,
        CASE WHEN alias IN ('+', '-', '=', '~') THEN '' ELSE alias END AS alias,
        number, moved AS time, actor, {detail} AS detail
    FROM moves ORDER BY revision
"""
_WITHOUT_CHAIN = (
    "SELECT revision, model, kind, alias, number, time, actor, detail FROM history "
    "ORDER BY revision"
)
# A release that knows only `moves` cannot create an index on a view, so it stops with an error when
# it opens the file. A missing table would look like an empty registry. Running processes of that
# release can still read.
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
_APPEND_ONLY = "the registry history is append-only"


def upgrade() -> None:
    """Create the table with its append-only triggers, and copy the rows of an earlier release."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    rows = _earlier(connection) if sqlite else []
    _metadata.create_all(connection)
    if rows:
        connection.execute(_history.insert(), rows)
    if sqlite:
        op.execute(_MOVES_VIEW)
        for change in ("DELETE", "UPDATE"):
            op.execute(
                f"CREATE TRIGGER history_no_{change.lower()} BEFORE {change} ON history "
                f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER history_no_change BEFORE DELETE OR UPDATE OR TRUNCATE ON history "
            "FOR EACH STATEMENT EXECUTE FUNCTION history_is_append_only()"
        )


def _earlier(connection: Connection) -> list[dict[str, Any]]:
    """Return the rows of an earlier release's table, with a chain, and drop the table."""
    tables = set(inspect(connection).get_table_names())
    if "history" in tables:
        read, drop = _WITHOUT_CHAIN, "history"
    elif "moves" in tables:
        columns = {column["name"] for column in inspect(connection).get_columns("moves")}
        # The earliest files have no column `detail`, because limits could not be changed.
        read, drop = _MOVES.format(detail="detail" if "detail" in columns else "''"), "moves"
    else:
        return []
    earlier_rows = [dict(row) for row in connection.execute(text(read)).mappings()]
    if drop == "history":
        op.execute("DROP VIEW IF EXISTS moves")
    op.execute(f"DROP TABLE {drop}")
    chain = "0" * 64
    for row in earlier_rows:
        row |= {"digest": "", "why": "", "evidence": ""}
        covered = msgspec.json.encode([
            row["revision"], row["model"], row["kind"], row["alias"], row["number"], row["time"],
            row["actor"], row["digest"], row["why"], row["evidence"], row["detail"],
        ])  # fmt: skip
        chain = row["chain"] = hashlib.sha256(chain.encode() + covered).hexdigest()
    return earlier_rows
