"""Add the sampled rows of tensors; existing windows have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "samples",
        sa.Column("model", _TEXT, primary_key=True),
        sa.Column("version", _TEXT, primary_key=True),
        sa.Column("start", _INTEGER, primary_key=True, autoincrement=False),
        sa.Column("tensor", _TEXT, primary_key=True),
        sa.Column("hash", _INTEGER, primary_key=True, autoincrement=False),
        sa.Column("form", _TEXT),
        sa.Column("body", sa.LargeBinary()),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
