"""Add the progress of each model's retraining schedule."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "schedules",
        sa.Column("model", _TEXT, primary_key=True),
        sa.Column("body", sa.LargeBinary()),
        if_not_exists=True,
    )
