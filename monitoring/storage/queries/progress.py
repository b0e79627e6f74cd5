"""Statements on how far the log is ingested, and on what was counted of it."""

from sqlalchemy import delete, literal_column, select

from monitoring.storage.schema import chains, horizons, ledger, monitored, positions, totals
from monitoring.storage.statements import RowChange, RowInsert, values_of

POSITIONS = select(positions.c.source, positions.c.epoch, positions.c.sequence)
SAVE_POSITION = RowInsert(positions, replace=["epoch", "sequence"])

LEDGERS = select(ledger.c.source, ledger.c.body).order_by(ledger.c.source)
SAVE_LEDGER = RowInsert(ledger, replace=["body"])

CHAINS = select(chains.c.body).order_by(chains.c.source, chains.c.shard)
SAVE_CHAIN = RowInsert(chains, replace=["body"])

MINUTES = select(monitored.c.source, monitored.c.minute, monitored.c.events)
COUNT_MINUTE = RowInsert(monitored, add=["events"])
DELETE_MINUTES = RowChange(
    values_of(monitored, "source", "minute"),
    lambda given: delete(monitored).where(
        monitored.c.source == given["source"], monitored.c.minute < given["minute"]
    ),
)

TOTALS = select(totals.c.name, totals.c.value)
COUNT = RowInsert(totals, add=["value"])

MINUTES_SINCE = select(horizons.c.until).where(horizons.c.name == literal_column("'minutes'"))
SAVE_HORIZON = RowInsert(horizons, replace=["until"])
