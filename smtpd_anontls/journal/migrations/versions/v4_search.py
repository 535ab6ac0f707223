"""What filters look at: the search index of SQLite, and indexes that lists of sessions and events go along."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the indexes; the messages of before come into the search index by and by, as new ones do."""
    op.add_column(
        "journal_state", sa.Column("searchable_message_id", _NUMBER, nullable=False, server_default="0")
    )
    op.drop_index("ix_messages_run", "messages")
    has_run = sa.text("run IS NOT NULL")
    op.create_index("ix_messages_run", "messages", ["run"], sqlite_where=has_run, postgresql_where=has_run)
    op.drop_index("ix_sessions_started", "sessions")
    op.create_index(
        "ix_sessions_listed",
        "sessions",
        ["started", "id", "server", "connector", "outcome", "remote", "remote_host"],
    )
    for column in ("event_id", "server", "connector"):
        op.create_index(f"ix_events_{column}", "events", [column])
    if op.get_context().dialect.name == "sqlite":
        op.drop_index("ix_message_headers_value", "message_headers")
        op.execute(
            "CREATE VIRTUAL TABLE message_search USING fts5(place, sender, recipients, subject, headers, "
            "content='', detail=column, columnsize=0, tokenize='trigram case_sensitive 1')"
        )
        op.execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 8)")
