"""Create the tables of the first revision.

A database from before migrations has most of these tables: only the missing tables and columns are
added. The definitions are those of this revision and do not follow later changes of `schema`.
"""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None

_metadata = MetaData()
_INTEGER = BigInteger().with_variant(Integer(), "sqlite")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_BYTES = LargeBinary()


def _key(name: str, kind: BigInteger | Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _body() -> Column[bytes]:
    return Column("body", _BYTES)


def _table(name: str, *columns: Column[Any], rowid: bool = True) -> Table:
    return Table(name, _metadata, *columns, sqlite_with_rowid=rowid)


def _version() -> tuple[Column[Any], Column[Any]]:
    return _key("model", _TEXT), _key("version", _TEXT)


_table("positions", _key("source", _TEXT), Column("epoch", _INTEGER), Column("sequence", _INTEGER))
_table(
    "streams",
    _key("stream", _TEXT),
    Column("epoch", _INTEGER),
    Column("sequence", _INTEGER),
    Column("chunks", _INTEGER, nullable=False, server_default=text("0")),
    Column("taken", _INTEGER, nullable=False, server_default=text("0")),
    Column("ended", _INTEGER, nullable=False, server_default=text("0")),
    Column("reported", _INTEGER),
)
_table("handed", _key("stream", _TEXT), _key("number", _INTEGER), _body())
_table("ledger", _key("source", _TEXT), _body())
_table(
    "monitored",
    _key("source", _TEXT),
    _key("minute", _INTEGER),
    Column("events", _INTEGER),
    rowid=False,
)
_table("totals", _key("name", _TEXT), Column("value", _INTEGER))
_table("watches", *_version(), _body())
_table("windows", *_version(), _key("start", _INTEGER), _body())
_predictions = _table(
    "predictions",
    _key("prediction_id", _TEXT),
    _key("row", _INTEGER),
    Column("model", _TEXT),
    Column("version", _TEXT),
    Column("start", _INTEGER),
    Column("hash", _INTEGER),
    _body(),
    Column("label", _BYTES),
    Column("time", _INTEGER),
    Column("told", _BYTES),
    rowid=False,
)
_table(
    "late",
    *_version(),
    _key("start", _INTEGER),
    Column("events", _INTEGER),
    Column("rows", _INTEGER),
    rowid=False,
)
_early_labels = _table(
    "early_labels",
    _key("prediction_id", _TEXT),
    _key("row", _INTEGER),
    Column("label", _BYTES),
    Column("time", _INTEGER),
    Column("received", _INTEGER),
    rowid=False,
)
_table("horizons", _key("name", _TEXT), Column("until", _INTEGER))
_table("jobs", _key("number", _INTEGER), _body())
_table("results", *_version(), _key("start", _INTEGER), _key("revision", _INTEGER), _body())
_table("closed", *_version(), _body())
_table("streaks", *_version(), _key("rule", _TEXT), _body())
_table("alarms", _key("alarm_id", _TEXT), Column("number", _INTEGER), _body())
_table("silences", _key("silence_id", _TEXT), _body())
_table(
    "outbox",
    _key("webhook_id", _TEXT),
    _body(),
    Column("created", _INTEGER),
    Column("attempts", _INTEGER),
    Column("next_attempt", _INTEGER),
    Column("state", _TEXT),
    Column("last_error", _TEXT),
)
_table("disabled_receivers", _key("receiver", _TEXT), _body())
_table(
    "dead_letters",
    _key("number", _INTEGER),
    Column("origin", _TEXT),
    Column("reason", _TEXT),
    _body(),
)
_table("retries", _key("number", _INTEGER))

_ADDED: dict[str, list[tuple[str, TypeEngine[Any]]]] = {  # columns that the oldest databases lack
    "predictions": [("time", _INTEGER), ("told", _BYTES)],
    "early_labels": [("time", _INTEGER), ("received", _INTEGER)],
}


def upgrade() -> None:
    """Create missing tables, columns and indexes."""
    connection = op.get_bind()
    _metadata.create_all(connection)
    inspector = inspect(connection)
    for table, columns in _ADDED.items():
        names = {column["name"] for column in inspector.get_columns(table)}
        for name, kind in columns:
            if name not in names:
                op.add_column(table, Column(name, kind))
    for index in _indexes():
        index.create(connection, checkfirst=True)
    op.execute("DROP INDEX IF EXISTS predictions_by_window")
    op.execute("DELETE FROM predictions WHERE start IS NULL")
    op.execute("UPDATE early_labels SET received = coalesce(time, 0) WHERE received IS NULL")


def _indexes() -> list[Index]:
    row, label = _predictions.c, _early_labels.c
    unsampled, sampled = row.body.is_(None), row.body.is_not(None)
    window = row.model, row.version, row.start
    return [
        Index(
            "predictions_unsampled",
            *window,
            sqlite_where=unsampled,
            postgresql_where=unsampled,
        ),
        Index(
            "predictions_sampled",
            *window,
            row.hash,
            sqlite_where=sampled,
            postgresql_where=sampled,
        ),
        Index("early_labels_received", label.received),
    ]
