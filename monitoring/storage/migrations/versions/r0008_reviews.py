"""Add the review queue: rows that people label."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "review_rows",
        *_place(),
        sa.Column("model", _TEXT),
        sa.Column("version", _TEXT),
        sa.Column("start", _INTEGER),
        sa.Column("time", _INTEGER),
        sa.Column("place", _INTEGER),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("decision", sa.LargeBinary()),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_index(
        "review_rows_of_version", "review_rows", ["model", "version", "start"], if_not_exists=True
    )
    op.create_table(
        "review_periods",
        sa.Column("model", _TEXT, primary_key=True),
        sa.Column("version", _TEXT, primary_key=True),
        sa.Column("start", _INTEGER, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary()),
        if_not_exists=True,
    )
    op.create_table(
        "review_leases",
        *_place(),
        sa.Column("holder", _TEXT),
        sa.Column("until", _INTEGER),
        sa.Column("state", _TEXT),
        sa.Column("why", _TEXT),
        sa.Column("at", _INTEGER),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )


def _place() -> tuple[sa.Column[str], sa.Column[int]]:
    return (
        sa.Column("prediction_id", _TEXT, primary_key=True),
        sa.Column("row", _INTEGER, primary_key=True, autoincrement=False),
    )
