"""What is wanted of running receivers beside their configurations, and a count of its changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Nothing was wanted so far."""
    op.add_column("journal_state", sa.Column("last_override", _NUMBER, nullable=False, server_default="0"))
    op.create_table(
        "overrides",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("version", _NUMBER, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
    )
