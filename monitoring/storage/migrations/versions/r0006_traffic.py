"""Add each model's hourly request counts; earlier releases did not count requests by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "traffic",
        sa.Column("model", _TEXT, primary_key=True),
        sa.Column("open", sa.LargeBinary()),
        sa.Column("judged", sa.LargeBinary()),
        if_not_exists=True,
    )
