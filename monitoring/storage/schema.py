"""The tables of the monitor's database: the one place that knows tables and columns.

A change here needs a migration (`migrations/versions`); a test compares both. Columns named `body`
hold JSON of the structs named beside them.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

REVISION = "0004"  # the newest migration
VERSION_TABLE = "monitor_revision"

metadata = MetaData()

INTEGER = BigInteger().with_variant(Integer(), "sqlite")
TEXT = Text().with_variant(Text(collation="C"), "postgresql")  # compared by bytes, as in SQLite
BYTES = LargeBinary()


def _key(name: str, kind: BigInteger | Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


positions = Table(
    "positions",
    metadata,
    _key("source", TEXT),
    Column("epoch", INTEGER),
    Column("sequence", INTEGER),
)
# Of monitors that share a log: how far each stream is read and ingested, and the chunks between.
streams = Table(
    "streams",
    metadata,
    _key("stream", TEXT),
    Column("epoch", INTEGER),
    Column("sequence", INTEGER),
    Column("chunks", INTEGER, nullable=False, server_default=text("0")),
    Column("taken", INTEGER, nullable=False, server_default=text("0")),
    Column("ended", INTEGER, nullable=False, server_default=text("0")),
    Column("reported", INTEGER),
)
handed = Table(  # sharing.entries.Chunk, as MessagePack
    "handed", metadata, _key("stream", TEXT), _key("number", INTEGER), Column("body", BYTES)
)
ledger = Table(  # results.SourceLedger
    "ledger", metadata, _key("source", TEXT), Column("body", BYTES)
)
chains = Table(  # chains.Chain
    "chains", metadata, _key("source", TEXT), _key("shard", TEXT), Column("body", BYTES)
)
monitored = Table(  # ingested events, by the minute of their reception
    "monitored",
    metadata,
    _key("source", TEXT),
    _key("minute", INTEGER),
    Column("events", INTEGER),
    sqlite_with_rowid=False,
)
totals = Table("totals", metadata, _key("name", TEXT), Column("value", INTEGER))

watches = Table(  # windows.window_state.Watch
    "watches", metadata, _key("model", TEXT), _key("version", TEXT), Column("body", BYTES)
)
windows = Table(  # windows.window_state.WindowState
    "windows",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("body", BYTES),
)

# Every answered row, so that its label finds it. `hash` is null for rows that came late and belong
# to no window. `body` (the values in the order of row_layout.columns) is null for rows outside the
# window's sample. `time` is the event's own, null where a release did not store it yet. `told`
# (here `predicted`) is the prediction as JSON, to be compared with the label.
predictions = Table(
    "predictions",
    metadata,
    _key("prediction_id", TEXT),
    _key("row", INTEGER),
    Column("model", TEXT),
    Column("version", TEXT),
    Column("start", INTEGER),
    Column("hash", INTEGER),
    Column("body", BYTES),
    Column("label", BYTES),
    Column("time", INTEGER),
    Column("told", BYTES, key="predicted"),
    sqlite_with_rowid=False,
)
# Rows come in about the order of their ids, so that this index grows at its end. Hashes come in no
# order: their index covers the samples alone.
_unsampled = predictions.c.body.is_(None)
_sampled = predictions.c.body.is_not(None)
Index(
    "predictions_unsampled",
    predictions.c.model,
    predictions.c.version,
    predictions.c.start,
    sqlite_where=_unsampled,
    postgresql_where=_unsampled,
)
Index(
    "predictions_sampled",
    predictions.c.model,
    predictions.c.version,
    predictions.c.start,
    predictions.c.hash,
    sqlite_where=_sampled,
    postgresql_where=_sampled,
)

# Sampled rows of tensors (samples.Sample). `start` and `hash` are as in `predictions`.
samples = Table(
    "samples",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    _key("tensor", TEXT),
    _key("hash", INTEGER),
    Column("form", TEXT),
    Column("body", BYTES),
    sqlite_with_rowid=False,
)

late = Table(  # late events, by the start of their pane; -1: panes whose counts were merged
    "late",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("events", INTEGER),
    Column("rows", INTEGER),
    sqlite_with_rowid=False,
)
early_labels = Table(  # labels whose prediction has not arrived
    "early_labels",
    metadata,
    _key("prediction_id", TEXT),
    _key("row", INTEGER),
    Column("label", BYTES),
    Column("time", INTEGER),
    Column("received", INTEGER),
    Index("early_labels_received", "received"),
    sqlite_with_rowid=False,
)
# What the log received before these times is deleted: "early_labels" (microseconds) and "minutes"
# (minutes).
horizons = Table("horizons", metadata, _key("name", TEXT), Column("until", INTEGER))

jobs = Table(  # rows.PendingScore
    "jobs", metadata, _key("number", INTEGER), Column("body", BYTES)
)
results = Table(  # results.Result
    "results",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    _key("revision", INTEGER),
    Column("body", BYTES),
)
closed = Table(  # windows.totals.Closed
    "closed", metadata, _key("model", TEXT), _key("version", TEXT), Column("body", BYTES)
)
streaks = Table(  # alarms.rule_state.RuleState
    "streaks",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("rule", TEXT),
    Column("body", BYTES),
)
alarms = Table(  # results.Alarm
    "alarms", metadata, _key("alarm_id", TEXT), Column("number", INTEGER), Column("body", BYTES)
)
silences = Table(  # results.Silence
    "silences", metadata, _key("silence_id", TEXT), Column("body", BYTES)
)
outbox = Table(
    "outbox",
    metadata,
    _key("webhook_id", TEXT),
    Column("body", BYTES),
    Column("created", INTEGER),
    Column("attempts", INTEGER),
    Column("next_attempt", INTEGER),
    Column("state", TEXT),
    Column("last_error", TEXT),
)
disabled_receivers = Table(  # results.Disabled
    "disabled_receivers", metadata, _key("receiver", TEXT), Column("body", BYTES)
)
dead_letters = Table(
    "dead_letters",
    metadata,
    _key("number", INTEGER),
    Column("origin", TEXT),
    Column("reason", TEXT),
    Column("body", BYTES),
)
retries = Table("retries", metadata, _key("number", INTEGER))  # dead letters to ingest again
