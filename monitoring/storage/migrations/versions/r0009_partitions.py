"""Add the partition of each row; drop the tables through which a leader distributed the log.

No event is lost: chunks that were not ingested are still in Kafka, after the committed positions.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BYTES = sa.LargeBinary()
_WITH_PARTITION = ("positions", "chains", "watches", "early_labels", "dead_letters")


def upgrade() -> None:
    """Add the partition, 0 for all rows until the monitors redistribute them."""
    for table in ("streams", "handed"):
        op.execute(f"DROP TABLE IF EXISTS {table}")
    for table in filter(_lacks_partition, _WITH_PARTITION):
        column = sa.Column("partition", _INTEGER, nullable=False, server_default=sa.text("0"))
        op.add_column(table, column)
    _rekey("ledger", ["source", ("shard", "''")], ["body"])
    _rekey("monitored", ["source", "minute"], ["events"], rowid=False)
    _rekey("totals", ["name"], ["value"])
    _rekey("horizons", ["name"], ["until"])
    _rekey("jobs", ["number"], ["body"])
    op.create_table("layout", _column("name", key=True), _column("value"), if_not_exists=True)
    op.create_table(
        "partitions",
        _column("partition", key=True),
        *map(_column, ("holder", "since", "reported", "behind", "oldest")),
        if_not_exists=True,
    )


def _rekey(
    table: str, keys: list[str | tuple[str, str]], others: list[str], *, rowid: bool = True
) -> None:
    """Re-create a table with the partition as the first column of its primary key.

    Each of `keys` is a column name, or the name of a new column and the SQL of its values.
    """
    if not _lacks_partition(table):
        return
    names = [key if isinstance(key, str) else key[0] for key in keys]
    values = [key if isinstance(key, str) else key[1] for key in keys]
    before = f"{table}_before"
    op.rename_table(table, before)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO {before}_pkey")
    columns = [_column(name, key=True) for name in ("partition", *names)]
    op.create_table(table, *columns, *map(_column, others), sqlite_with_rowid=rowid)
    into, selected = ", ".join([*names, *others]), ", ".join([*values, *others])
    op.execute(f"INSERT INTO {table} (partition, {into}) SELECT 0, {selected} FROM {before}")  # noqa: S608 - ours
    op.drop_table(before)


def _lacks_partition(table: str) -> bool:
    columns = sa.inspect(op.get_bind()).get_columns(table)
    return "partition" not in {column["name"] for column in columns}


def _column(name: str, *, key: bool = False) -> sa.Column[object]:
    kinds = {"body": _BYTES} | dict.fromkeys(("source", "shard", "name", "holder"), _TEXT)
    return sa.Column(name, kinds.get(name, _INTEGER), primary_key=key, autoincrement=False)
