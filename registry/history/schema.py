"""Define the tables and columns of the registry's history.

Every change here needs a migration in `migrations/versions`; a test compares both.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

REVISION = "0003"  # the newest migration
VERSION_TABLE = "registry_revision"

metadata = MetaData()

_INTEGER = BigInteger().with_variant(Integer(), "sqlite")
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")  # compared by bytes, as in SQLite

history = Table(  # rows.HistoryRow
    "history",
    metadata,
    Column("revision", _INTEGER, primary_key=True, autoincrement=False),
    Column("model", _TEXT, nullable=False),
    Column("kind", _TEXT, nullable=False),
    Column("number", _TEXT, nullable=False),
    Column("time", _INTEGER, nullable=False),
    Column("actor", _TEXT, nullable=False),
    Column("alias", _TEXT, nullable=False),
    Column("detail", _TEXT, nullable=False),
    Column("digest", _TEXT, nullable=False),
    Column("why", _TEXT, nullable=False),
    Column("evidence", _TEXT, nullable=False),
    Column("chain", _TEXT, nullable=False),
)
Index("history_by_model", history.c.model, history.c.revision)
Index("history_by_kind", history.c.kind, history.c.model)
workers = Table(  # reports of workers on all machines; used only if the database is a server
    "workers",
    metadata,
    Column("worker", _TEXT, primary_key=True),
    Column("seen", _INTEGER, nullable=False),  # seconds since the epoch, by the server's clock
    Column("body", _TEXT, nullable=False),  # worker_reports.WorkerReport
)
