"""Define the tables and columns of the monitor's database.

Every change needs a migration (`migrations/versions`); a test compares the schema with the
migrations. Unless a comment says otherwise, times are in microseconds since the epoch, and columns
named `body` contain JSON; the comment at the table names the struct.
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
    """Define the column of a row's partition; a model version belongs to one partition."""
    return Column("partition", INTEGER, nullable=False, server_default=text("0"))


positions = Table(  # the next position of each source
    "positions",
    metadata,
    _key("source", TEXT),
    Column("epoch", INTEGER),
    Column("sequence", INTEGER),
    _partition(),
)
# The row "partitions" contains the number of partitions; 0 if the log is not divided.
layout = Table("layout", metadata, _key("name", TEXT), Column("value", INTEGER))
# The monitor that holds each partition of a shared log; the holder updates its row every few
# seconds. `behind` counts the records that are not ingested yet.
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
# One row per source; if the log is divided, one row per shard of a source (results.SourceLedger).
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
monitored = Table(  # number of ingested events per minute of reception
    "monitored",
    metadata,
    _key("partition", INTEGER),
    _key("source", TEXT),
    _key("minute", INTEGER),
    Column("events", INTEGER),
    sqlite_with_rowid=False,
)
totals = Table(  # counters over all ingested events
    "totals", metadata, _key("partition", INTEGER), _key("name", TEXT), Column("value", INTEGER)
)

version_progress = Table(  # windows.watermark.VersionProgress
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

# Hourly requests of a model: `open` for hours that are not judged yet (windows.traffic.OpenHours),
# `judged` for judged hours (windows.traffic.JudgedHours).
traffic = Table(
    "traffic", metadata, _key("model", TEXT), Column("open", BYTES), Column("judged", BYTES)
)

# Every predicted row, stored so that its label can be joined to it. `hash` is null for rows that
# came late and belong to no window. `body` (the values in the order of row_layout.columns) is null
# for unsampled rows. `time` is the event time, null if an early release stored the row. `told`
# (in Python `predicted`) is the prediction as JSON, to be compared with the label.
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
# Rows arrive roughly in the order of their ids, so the first index grows at its end, which is
# cheap. Hashes arrive in random order, so the second index covers only sampled rows.
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

# Sampled rows of tensors (samples.Sample). `start` and `hash` mean the same as in `predictions`.
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

# Candidates for the review queue (`place` is null) and picked rows (`place` is the position in the
# queue). `start` is the period's start. These rows follow from the log only; people's leases are in
# the separate table `review_leases`.
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
review_periods = Table(  # reviews.rows.ReviewCounts, for periods that have not ended
    "review_periods",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("body", BYTES),
)
review_leases = Table(  # rows that people have reserved or skipped, see review_desk/leases.py
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

late = Table(  # late events by pane start; start -1: the merged counts of old panes
    "late",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("start", INTEGER),
    Column("events", INTEGER),
    Column("rows", INTEGER),
    sqlite_with_rowid=False,
)
early_labels = Table(  # labels whose prediction has not arrived yet
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
# Reception times before which data are deleted, by kind: "early_labels" (microseconds) and
# "minutes" (minutes since the epoch).
horizons = Table(
    "horizons", metadata, _key("partition", INTEGER), _key("name", TEXT), Column("until", INTEGER)
)

jobs = Table(  # pending_scores.PendingScore
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
closed = Table(  # windows.totals.ClosedTotals
    "closed", metadata, _key("model", TEXT), _key("version", TEXT), Column("body", BYTES)
)
rule_states = Table(  # alarms.alarm_lifecycle.RuleState
    "streaks",
    metadata,
    _key("model", TEXT),
    _key("version", TEXT),
    _key("rule", TEXT),
    Column("body", BYTES),
)
alarms = Table(  # results.Alarm; `number` orders alarms, see queries/alarms.py
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
notes = Table(  # results.Note; alarm notes have no `start`, window notes an empty `alarm_id`
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
outbox = Table(  # results.Delivery; `body` is the webhook's body
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
disabled_receivers = Table(  # results.DisabledReceiver
    "disabled_receivers", metadata, _key("receiver", TEXT), Column("body", BYTES)
)
dead_letters = Table(  # results.DeadLetter; `body` is the record
    "dead_letters",
    metadata,
    _key("number", INTEGER),
    Column("origin", TEXT),
    Column("reason", TEXT),
    Column("body", BYTES),
    _partition(),
)
retries = Table("retries", metadata, _key("number", INTEGER))  # dead letters queued for ingestion
