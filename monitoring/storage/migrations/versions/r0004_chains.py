"""Add the chains: the event numbers of each source's shards; earlier logs have no numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "chains",
        sa.Column("source", _TEXT, primary_key=True),
        sa.Column("shard", _TEXT, primary_key=True),
        sa.Column("body", sa.LargeBinary()),
        if_not_exists=True,
    )
