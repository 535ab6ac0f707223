"""Segments of the search index of SQLite are merged by the journal, no longer by FTS5."""

from __future__ import annotations

from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Say so to FTS5, which keeps it."""
    if op.get_context().dialect.name == "sqlite":
        op.execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 0)")
        op.execute("INSERT INTO message_search (message_search, rank) VALUES ('usermerge', 8)")
