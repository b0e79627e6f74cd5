"""Define the tables and columns of the monitor's database.

A change here needs a migration (`migrations/versions`); a test compares both. Columns named `body`
hold JSON of the structs named beside them.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text

REVISION = "0010"  # the newest migration
VERSION_TABLE = "monitor_revision"

metadata = MetaData()

INTEGER = BigInteger().with_variant(Integer(), "sqlite")
TEXT = Text().with_variant(Text(collation="C"), "postgresql")  # compared by bytes, as in SQLite
BYTES = LargeBinary()


def _key(name: str, kind: BigInteger | Text) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _partition() -> Column[Any]:
    """Return the partition of a row; rows of one model version belong to one partition."""
    return Column("partition", INTEGER, nullable=False, server_default=text("0"))


positions = Table(
    "positions",
    metadata,
    _key("source", TEXT),
    Column("epoch", INTEGER),
    Column("sequence", INTEGER),
    _partition(),
)
# How the log is divided: "partitions" is their number, 0 if one partition holds the whole log.
layout = Table("layout", metadata, _key("name", TEXT), Column("value", INTEGER))
# Who holds each partition of a shared log: written by the holder, every few seconds.
partitions = Table(
    "partitions",
    metadata,
    _key("partition", INTEGER),
    Column("holder", TEXT),
    Column("since", INTEGER),
    Column("reported", INTEGER),
    Column("behind", INTEGER),
    Column("oldest", INTEGER),
)
# One row per source, or per shard of a source where the log is divided (results.SourceLedger).
ledger = Table(
    "ledger",
    metadata,
    _key("partition", INTEGER),
    _key("source", TEXT),
    _key("shard", TEXT),
    Column("body", BYTES),
)
chains = Table(  # chains.Chain
    "chains",
    metadata,
    _key("source", TEXT),
    _key("shard", TEXT),
    Column("body", BYTES),
    _partition(),
)
monitored = Table(  # ingested events, by the minute of their reception
    "monitored",
    metadata,
    _key("partition", INTEGER),
    _key("source", TEXT),
    _key("minute", INTEGER),
    Column("events", INTEGER),
    sqlite_with_rowid=False,
)
totals = Table(
    "totals", metadata, _key("partition", INTEGER), _key("name", TEXT), Column("value", INTEGER)
)

watches = Table(  # windows.window_state.Watch
    "watches",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    Column("body", BYTES),
    _partition(),
)
windows = Table(  # windows.window_state.WindowState
    "windows",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("body", BYTES),
)

# Requests of a model by the hour: of hours that are not judged yet (windows.traffic.OpenHours),
# and of those that are (windows.traffic.JudgedHours).
traffic = Table(
    "traffic", metadata, _key("model", TEXT), Column("open", BYTES), Column("judged", BYTES)
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

# Rows that may be picked for review or, with a place in the queue, were picked; `start` is that of
# their period. A table of its own holds what people do with them, so that these rows are a function
# of the log.
review_rows = Table(  # reviews.rows.ReviewRow and ReviewDecision
    "review_rows",
    metadata,
    _key("prediction_id", TEXT),
    _key("row", INTEGER),
    Column("model", TEXT),
    Column("version", TEXT),
    Column("start", INTEGER),
    Column("time", INTEGER),
    Column("place", INTEGER),
    Column("body", BYTES),
    Column("decision", BYTES),
    Index("review_rows_of_version", "model", "version", "start"),
    sqlite_with_rowid=False,
)
review_periods = Table(  # reviews.rows.ReviewCounts of the periods that have not ended
    "review_periods",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("body", BYTES),
)
review_leases = Table(  # review_desk.leases
    "review_leases",
    metadata,
    _key("prediction_id", TEXT),
    _key("row", INTEGER),
    Column("holder", TEXT),
    Column("until", INTEGER),
    Column("state", TEXT),
    Column("why", TEXT),
    Column("at", INTEGER),
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
    _partition(),
    Index("early_labels_received", "received"),
    sqlite_with_rowid=False,
)
# What the log received before these times is deleted: "early_labels" (microseconds) and "minutes"
# (minutes).
horizons = Table(
    "horizons", metadata, _key("partition", INTEGER), _key("name", TEXT), Column("until", INTEGER)
)

jobs = Table(  # rows.PendingScore
    "jobs", metadata, _key("partition", INTEGER), _key("number", INTEGER), Column("body", BYTES)
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
streaks = Table(  # alarms.alarm_lifecycle.RuleState
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
schedules = Table(  # alarms.retrain_schedule.ScheduleProgress
    "schedules", metadata, _key("model", TEXT), Column("body", BYTES)
)
batch_days = Table(  # counters.batch_days.BatchDay
    "batch_days",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("body", BYTES),
)
silences = Table(  # results.Silence
    "silences", metadata, _key("silence_id", TEXT), Column("body", BYTES)
)
notes = Table(  # results.Note; `start` is null for those on alarms, `alarm_id` empty for others
    "notes",
    metadata,
    _key("note_id", TEXT),
    Column("model", TEXT),
    Column("version", TEXT),
    Column("start", INTEGER),
    Column("alarm_id", TEXT),
    Column("created", INTEGER),
    Column("body", BYTES),
    Index("notes_of_version", "model", "version", "created"),
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
    _partition(),
)
retries = Table("retries", metadata, _key("number", INTEGER))  # dead letters to ingest again
