"""The search index of SQLite anew, since it holds the beginnings of long values alone; the sessions of a host."""

from __future__ import annotations

from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Make the indexes; all messages come into the search index by and by, as new ones do."""
    op.create_index(
        "ix_sessions_remote_host",
        "sessions",
        ["remote_host"],
        postgresql_ops={"remote_host": "text_pattern_ops"},
    )
    if op.get_context().dialect.name == "sqlite":
        op.execute("DROP TABLE message_search")
        op.execute(
            "CREATE VIRTUAL TABLE message_search USING fts5(place, sender, recipients, subject, headers, "
            "content='', detail=column, columnsize=0, tokenize='trigram case_sensitive 1')"
        )
        op.execute("INSERT INTO message_search (message_search, rank) VALUES ('automerge', 8)")
        op.execute("UPDATE journal_state SET searchable_message_id = 0")
