"""How many sessions and events there are stands in the state, as for messages: retention counts no rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the counts, as they are now."""
    for table in ("sessions", "events"):
        column = f"{table[:-1]}_count"
        op.add_column("journal_state", sa.Column(column, _NUMBER, nullable=False, server_default="0"))
        op.execute(f"UPDATE journal_state SET {column} = (SELECT count(*) FROM {table})")  # noqa: S608 - our names
