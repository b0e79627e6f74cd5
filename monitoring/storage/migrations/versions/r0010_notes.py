"""Add people's notes on windows and alarms."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "notes",
        sa.Column("note_id", _TEXT, primary_key=True),
        sa.Column("model", _TEXT),
        sa.Column("version", _TEXT),
        sa.Column("start", _INTEGER),
        sa.Column("alarm_id", _TEXT),
        sa.Column("created", _INTEGER),
        sa.Column("body", sa.LargeBinary()),
        if_not_exists=True,
    )
    op.create_index(
        "notes_of_version", "notes", ["model", "version", "created"], if_not_exists=True
    )
