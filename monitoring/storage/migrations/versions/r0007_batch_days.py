"""Add daily counts of batch-scored rows; earlier databases have only totals."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "batch_days",
        sa.Column("model", _TEXT, primary_key=True),
        sa.Column("version", _TEXT, primary_key=True),
        sa.Column("start", _INTEGER, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary()),
        if_not_exists=True,
    )
