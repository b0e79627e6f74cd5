"""Statements on the partitions of a shared log and the monitors that hold them."""

from sqlalchemy import Table, bindparam, delete, literal_column, select, update

from monitoring.storage.schema import (
    chains,
    dead_letters,
    early_labels,
    horizons,
    ledger,
    partitions,
    positions,
    version_progress,
)
from monitoring.storage.statements import RowChange, RowInsert, values_of

ALL = select(partitions).order_by(partitions.c.partition)
REPORT = RowInsert(partitions, replace=["holder", "since", "reported", "behind", "oldest"])
RELEASE = RowChange(
    values_of(partitions, "partition", "holder"),
    lambda params: (
        update(partitions)
        .values(holder=literal_column("''"))
        .where(
            partitions.c.partition == params["partition"], partitions.c.holder == params["holder"]
        )
    ),
)
DELETE_FROM = delete(partitions).where(partitions.c.partition >= bindparam("partition"))


def _move(table: Table, *keys: str) -> RowChange:
    """Build the statement that assigns the rows with these keys to a partition."""
    return RowChange(
        values_of(table, "partition", *keys),
        lambda params: (
            update(table)
            .values(partition=params["partition"])
            .where(*(table.c[key] == params[key] for key in keys))
        ),
    )


# Transfer of rows to other partitions when the number of partitions changes.
VERSIONS = select(version_progress.c.model, version_progress.c.version)
MOVE_VERSION = _move(version_progress, "model", "version")
LABELS = select(early_labels.c.prediction_id).distinct()
MOVE_LABEL = _move(early_labels, "prediction_id")
LETTERS = select(dead_letters.c.number, dead_letters.c.body)
MOVE_LETTER = _move(dead_letters, "number")
MOVE_CHAIN = _move(chains, "source", "shard")
MOVE_POSITION = _move(positions, "source")
DELETE_LEDGERS = delete(ledger)
HORIZONS = select(horizons.c.name, horizons.c.until)
