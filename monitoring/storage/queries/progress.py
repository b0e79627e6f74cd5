"""Statements on the ingested positions and the event counters."""

from sqlalchemy import bindparam, delete, func, literal_column, select

from monitoring.storage.schema import (
    chains,
    horizons,
    layout,
    ledger,
    monitored,
    positions,
    totals,
)
from monitoring.storage.statements import RowChange, RowInsert, values_of

_PARTITION = bindparam("partition", type_=ledger.c.partition.type)

POSITIONS = select(positions.c.source, positions.c.epoch, positions.c.sequence).where(
    positions.c.partition == _PARTITION
)
ALL_POSITIONS = select(positions.c.source, positions.c.epoch, positions.c.sequence)
SAVE_POSITION = RowInsert(
    positions,
    "source",
    "epoch",
    "sequence",
    "partition",
    replace=["epoch", "sequence", "partition"],
)

LEDGERS = (
    select(ledger.c.shard, ledger.c.body)
    .where(ledger.c.partition == _PARTITION)
    .order_by(ledger.c.source, ledger.c.shard)
)
ALL_LEDGERS = select(ledger.c.partition, ledger.c.shard, ledger.c.body).order_by(
    ledger.c.source, ledger.c.shard, ledger.c.partition
)
SAVE_LEDGER = RowInsert(ledger, replace=["body"])

CHAINS = (
    select(chains.c.body)
    .where(chains.c.partition == _PARTITION)
    .order_by(chains.c.source, chains.c.shard)
)
ALL_CHAINS = select(chains.c.body).order_by(chains.c.source, chains.c.shard)
SAVE_CHAIN = RowInsert(
    chains, "source", "shard", "body", "partition", replace=["body", "partition"]
)

MINUTES = select(monitored.c.source, monitored.c.minute, monitored.c.events)
COUNT_MINUTE = RowInsert(monitored, add=["events"])
DELETE_MINUTES = RowChange(
    values_of(monitored, "partition", "source", "minute"),
    lambda params: delete(monitored).where(
        monitored.c.partition == params["partition"],
        monitored.c.source == params["source"],
        monitored.c.minute < params["minute"],
    ),
)

TOTALS = select(totals.c.name, totals.c.value)
COUNT = RowInsert(totals, add=["value"])

LAYOUT = select(layout.c.value).where(layout.c.name == literal_column("'partitions'"))
SAVE_LAYOUT = RowInsert(layout, replace=["value"])

MINUTES_SINCE = select(func.max(horizons.c.until)).where(
    horizons.c.name == literal_column("'minutes'")
)
SAVE_HORIZON = RowInsert(horizons, replace=["until"])
